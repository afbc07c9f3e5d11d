// Node's own WebSocket (undici) against the echo server. Node before 22 needs --experimental-websocket.
import { addressFromArguments, finish, run } from "./tap.mjs";
import { tests } from "./standard.mjs";

if (typeof WebSocket === "undefined") {
  console.error("This Node has no built-in WebSocket: use Node 22, or Node 20 with --experimental-websocket.");
  process.exit(2);
}
finish(await run(tests, addressFromArguments()));
