// The npm package `ws` against the echo server: what the browser interface cannot do, that is fragments,
// pings, pongs, broken connections and offers of extensions and subprotocols.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { WebSocket } from "ws";
import { addressFromArguments, finish, run } from "./tap.mjs";

const MIB = 1024 * 1024;

async function open(address, options = {}, protocols = []) {
  const socket = new WebSocket(address, protocols, { perMessageDeflate: false, ...options });
  await once(socket, "open");
  return socket;
}

async function close(socket, code = 1000, reason = "") {
  const end = once(socket, "close");
  socket.close(code, reason);
  const [gotCode, gotReason] = await end;
  assert.equal(gotCode, code);
  // RFC 6455, 5.5.1 has the code sent back; the reason may be, but is no other.
  assert.ok(["", reason].includes(gotReason.toString()), `the answer has another reason: ${gotReason}`);
}

/** The next `count` messages as `{ data, binary }`, in order; fails when the connection ends before. */
function receive(socket, count) {
  return new Promise((resolve, reject) => {
    const messages = [];
    const ended = (code, reason) =>
      reject(new Error(`closed with ${code} "${reason}" after ${messages.length} of ${count} messages`));
    socket.on("close", ended);
    socket.on("message", function take(data, binary) {
      messages.push({ data, binary });
      if (messages.length < count) return;
      socket.off("message", take);
      socket.off("close", ended);
      resolve(messages);
    });
  });
}

async function expectEcho(socket, payload) {
  const answer = receive(socket, 1);
  socket.send(payload);
  const [{ data, binary }] = await answer;
  assert.equal(binary, typeof payload !== "string");
  assert.ok(data.equals(Buffer.from(payload)), `${payload.length} bytes or characters came back changed`);
}

/** Sends one message cut at the given places. */
function sendCut(socket, payload, cuts) {
  const bytes = Buffer.from(payload);
  const ends = [...cuts, bytes.length];
  let from = 0;
  ends.forEach((end, index) => {
    socket.send(bytes.subarray(from, end), { binary: typeof payload !== "string", fin: index === ends.length - 1 });
    from = end;
  });
}

const tests = [
  ["text and binary come back with their kind", async (address) => {
    const socket = await open(address);
    await expectEcho(socket, "Hello, ✓");
    await expectEcho(socket, Buffer.from([0, 255, 128, 10, 13]));
    await expectEcho(socket, "");
    await expectEcho(socket, Buffer.alloc(0));
    await close(socket);
  }],

  ["1 MiB of each kind comes back unchanged", async (address) => {
    const socket = await open(address);
    await expectEcho(socket, randomBytes(MIB));
    await expectEcho(socket, randomBytes(MIB / 2).toString("hex"));
    await close(socket);
  }],

  ["every size up to 300 bytes comes back unchanged", async (address) => {
    const socket = await open(address);
    const payloads = Array.from({ length: 301 }, (_, length) => randomBytes(length));
    const all = receive(socket, payloads.length);
    for (const payload of payloads) socket.send(payload);
    (await all).forEach(({ data }, length) => assert.ok(data.equals(payloads[length]), `${length} bytes`));
    await close(socket);
  }],

  ["a message without mask variation (all-zero payload) comes back unchanged", async (address) => {
    const socket = await open(address);
    await expectEcho(socket, Buffer.alloc(100_000));
    await close(socket);
  }],

  ["fragmented messages come back whole", async (address) => {
    const socket = await open(address);
    const bytes = randomBytes(10_000);
    const answers = receive(socket, 4);
    sendCut(socket, bytes, [1, 2, 126, 5000, 9999]);
    sendCut(socket, bytes, Array.from({ length: 999 }, (_, at) => (at + 1) * 10));
    sendCut(socket, "fragments of text", [0, 0, 9]);
    sendCut(socket, "€👋ß", [1, 2, 4, 6, 8]);   // cut inside each character
    const [first, second, third, fourth] = await answers;
    assert.ok(first.data.equals(bytes));
    assert.ok(second.data.equals(bytes));
    assert.deepEqual([third.data.toString(), third.binary], ["fragments of text", false]);
    assert.deepEqual([fourth.data.toString(), fourth.binary], ["€👋ß", false]);
    await close(socket);
  }],

  ["a ping between two fragments is answered before the message", async (address) => {
    const socket = await open(address);
    const seen = [];
    socket.on("pong", (data) => seen.push(`pong ${data}`));
    const answer = receive(socket, 1).then(() => seen.push("message"));
    socket.send("first ", { fin: false });
    socket.ping("between");
    await once(socket, "pong");
    socket.send("second", { fin: true });
    await answer;
    assert.deepEqual(seen, ["pong between", "message"]);
    await close(socket);
  }],

  ["pings are answered with the same payload", async (address) => {
    const socket = await open(address);
    for (const payload of [Buffer.alloc(0), Buffer.from("x"), randomBytes(125)]) {
      const pong = once(socket, "pong");
      socket.ping(payload);
      assert.ok((await pong)[0].equals(payload));
    }
    await close(socket);
  }],

  ["an unasked pong is taken without an answer", async (address) => {
    const socket = await open(address);
    socket.on("pong", () => assert.fail("a pong was answered"));
    socket.pong("unasked");
    await expectEcho(socket, "still here");
    await close(socket);
  }],

  ["close codes are answered as sent", async (address) => {
    for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999]) {
      await close(await open(address), code, `reason of ${code}`);
    }
    await close(await open(address), 1000, "r".repeat(123));
  }],

  ["text that is not UTF-8 ends the connection with 1007", async (address) => {
    for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x61, 0xe2, 0x82]]) {
      const socket = await open(address);
      const end = once(socket, "close");
      socket.send(Buffer.from(bytes), { binary: false });
      assert.equal((await end)[0], 1007, `bytes ${bytes}`);
    }
  }],

  ["messages queued before close all come back", async (address) => {
    const socket = await open(address);
    const answers = receive(socket, 200);
    for (let number = 0; number < 200; number++) socket.send(`message ${number}`);
    const end = once(socket, "close");
    socket.close(1000);
    (await answers).forEach(({ data }, number) => assert.equal(data.toString(), `message ${number}`));
    assert.equal((await end)[0], 1000);
  }],

  ["a client that reads late gets every byte in order", async (address) => {
    const socket = await open(address);
    const payloads = Array.from({ length: 96 }, () => randomBytes(64 * 1024));
    const all = receive(socket, payloads.length);
    socket.pause();
    for (const payload of payloads) socket.send(payload);
    setTimeout(() => socket.resume(), 500);
    (await all).forEach(({ data }, number) => assert.ok(data.equals(payloads[number]), `message ${number} changed`));
    await close(socket);
  }],

  ["frames that arrive one byte at a time come back unchanged", async (address) => {
    const { hostname, port } = new URL(address);
    let slow = false;
    const socket = await open(address, {
      createConnection: () => {
        const tcp = connectTcp(Number(port), hostname).setNoDelay(true);
        const write = tcp._write.bind(tcp);
        // Nagle is off and each byte is its own write, so the server sees cut headers and cut masks.
        tcp._write = (chunk, encoding, done) => {
          if (!slow) return write(chunk, encoding, done);
          const one = (at) => at === chunk.length ? done() : write(chunk.subarray(at, at + 1), encoding, (error) => error ? done(error) : setImmediate(one, at + 1));
          one(0);
        };
        tcp._writev = null;
        return tcp;
      },
    });
    slow = true;
    await expectEcho(socket, "byte by byte ✓");
    await expectEcho(socket, randomBytes(300));
    await close(socket);
  }],

  ["an offer of permessage-deflate leads to a working connection", async (address) => {
    const socket = await open(address, { perMessageDeflate: { threshold: 0 } });
    assert.ok(["", "permessage-deflate"].includes(socket.extensions));
    await expectEcho(socket, "compressible ".repeat(1000));
    await expectEcho(socket, randomBytes(5000));
    await close(socket);
  }],

  ["no subprotocol is chosen when none is in common", async (address) => {
    const socket = new WebSocket(address, ["chat.v1", "chat.v2"], { perMessageDeflate: false });
    const [error] = await once(socket, "error");
    // The server leaves the header out, as RFC 6455, 4.2.2 asks; this client then gives up.
    assert.equal(error.message, "Server sent no subprotocol");
  }],

  ["80 connections at once each get their own answers", async (address) => {
    const sockets = [];
    for (let batch = 0; batch < 8; batch++) {
      sockets.push(...await Promise.all(Array.from({ length: 10 }, () => open(address))));
    }
    await Promise.all(sockets.map(async (socket, number) => {
      const all = receive(socket, 50);
      for (let count = 0; count < 50; count++) socket.send(`${number}/${count}`);
      (await all).forEach(({ data }, count) => assert.equal(data.toString(), `${number}/${count}`));
    }));
    await Promise.all(sockets.map((socket) => close(socket)));
  }],

  ["the server goes on after clients that vanish", async (address) => {
    for (let number = 0; number < 30; number++) {
      const socket = await open(address);
      socket.send(randomBytes(number * 1000), { fin: number % 2 === 0 });
      if (number % 3 === 0) socket._socket.resetAndDestroy();
      else socket.terminate();
    }
    const socket = await open(address);
    await expectEcho(socket, "still here");
    await close(socket);
  }],

  ["a plain request for the page is answered with HTML", async (address) => {
    const answer = await fetch(address.replace(/^ws/, "http"));
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type"), /^text\/html/);
    assert.match(await answer.text(), /<title>Echo/);
  }],
];

finish(await run(tests, addressFromArguments()));
