// Echo, or fan-out with "fan-out" as second argument, on ws, with the native module that it recommends. Over TLS
// where TLS_CERT and TLS_KEY name files.
// usage: node server.mjs PORT [fan-out] [deflate]
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocket, WebSocketServer } from "ws";

const [port, ...words] = process.argv.slice(2);
const { TLS_CERT, TLS_KEY } = process.env;
const fanOut = words.includes("fan-out");
const deflate = words.includes("deflate");

const listener = TLS_CERT
  ? https.createServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) })
  : http.createServer();
const server = new WebSocketServer({
  server: listener,
  clientTracking: fanOut,
  maxPayload: 64 * 1024 * 1024,
  // The fastest level that there is.
  perMessageDeflate: deflate && { threshold: 0, zlibDeflateOptions: { level: 1 } },
});
server.on("connection", (socket) => {
  // Peers may end as they like.
  socket.on("error", () => {});
  socket.on("message", (data, binary) => {
    if (!fanOut) return socket.send(data, { binary });
    for (const client of server.clients) {
      if (client.readyState === WebSocket.OPEN) client.send(data, { binary });
    }
  });
});
listener.listen({ host: "127.0.0.1", port: Number(port), backlog: 4096 });
