// What a client sees through the standard WebSocket interface of browsers.
// Imports nothing and touches neither page nor process, so that the same text runs in Node and inside a page.

function check(condition, message) {
  if (!condition) throw new Error(message);
}

function same(got, expected, what) {
  check(Object.is(got, expected), `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(got)}`);
}

function open(address, protocols = []) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address, protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error("the connection could not be opened"));
  });
}

function closed(socket) {
  return new Promise((resolve) => {
    socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean });
  });
}

/** The next `count` messages, in order. */
function receive(socket, count) {
  return new Promise((resolve, reject) => {
    const messages = [];
    socket.onmessage = ({ data }) => {
      messages.push(data);
      if (messages.length === count) resolve(messages);
    };
    socket.onclose = ({ code, reason }) =>
      reject(new Error(`closed with ${code} "${reason}" after ${messages.length} of ${count} messages`));
  });
}

async function echo(socket, payload) {
  const answer = receive(socket, 1);
  socket.send(payload);
  return (await answer)[0];
}

async function closeWell(socket) {
  const end = closed(socket);
  socket.close(1000);
  const { code, wasClean } = await end;
  same(code, 1000, "close code");
  check(wasClean, "the closing handshake was not clean");
}

async function expectText(socket, text, what) {
  const answer = await echo(socket, text);
  same(typeof answer, "string", `${what}: type of the answer`);
  same(answer.length, text.length, `${what}: length`);
  check(answer === text, `${what}: the text changed`);
}

/** Bytes from a small generator, so that a shifted or swapped piece shows. */
function noise(length, seed = 1) {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let at = 0; at < length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[at] = state;
  }
  return bytes;
}

function expectBytes(answer, sent, what) {
  check(answer instanceof ArrayBuffer, `${what}: the answer is not binary`);
  same(answer.byteLength, sent.length, `${what}: length`);
  const got = new Uint8Array(answer);
  const at = got.findIndex((byte, index) => byte !== sent[index]);
  check(at === -1, `${what}: byte ${at} changed`);
}

async function expectClose(address, code, reason) {
  const socket = await open(address);
  const end = closed(socket);
  if (code === undefined) socket.close();
  else socket.close(code, reason);
  return end;
}

/** RFC 6455, 5.5.1 has the code sent back; the reason may be, but is no other. */
async function expectCloseAnswered(address, code, reason) {
  const end = await expectClose(address, code, reason);
  same(end.code, code, "close code");
  check(["", reason].includes(end.reason), `the answer has another reason: ${end.reason}`);
  check(end.wasClean, `${code}: the closing handshake was not clean`);
}

const MIB = 1024 * 1024;
const REASON_BYTES_MAX = 123;

/** Every test takes the address of an echo server. */
export const tests = [
  ["a text message comes back as text", async (address) => {
    const socket = await open(address);
    await expectText(socket, "Hello", "greeting");
    await closeWell(socket);
  }],

  ["a binary message comes back as binary", async (address) => {
    const socket = await open(address);
    const bytes = Uint8Array.from({ length: 256 }, (_, at) => at);
    expectBytes(await echo(socket, bytes), bytes, "all byte values");
    await closeWell(socket);
  }],

  ["a view of a buffer sends only what it shows", async (address) => {
    const socket = await open(address);
    const whole = noise(64);
    expectBytes(await echo(socket, whole.subarray(7, 40)), whole.slice(7, 40), "view");
    await closeWell(socket);
  }],

  ["a Blob comes back with its bytes", async (address) => {
    const socket = await open(address);
    const bytes = noise(70_000);
    expectBytes(await echo(socket, new Blob([bytes])), bytes, "blob");
    await closeWell(socket);
  }],

  ["empty messages of both kinds come back empty", async (address) => {
    const socket = await open(address);
    await expectText(socket, "", "empty text");
    expectBytes(await echo(socket, new Uint8Array(0)), new Uint8Array(0), "empty binary");
    await expectText(socket, "", "empty text again");
    await closeWell(socket);
  }],

  ["sizes around each length encoding come back unchanged", async (address) => {
    const socket = await open(address);
    for (const length of [1, 2, 3, 124, 125, 126, 127, 128, 255, 256, 257, 4095, 4096, 4097, 65_534, 65_535, 65_536, 65_537]) {
      const bytes = noise(length, length);
      expectBytes(await echo(socket, bytes), bytes, `${length} bytes`);
      await expectText(socket, "x".repeat(length), `${length} characters`);
    }
    await closeWell(socket);
  }],

  ["a text message of 1 MiB comes back unchanged", async (address) => {
    const socket = await open(address);
    await expectText(socket, "0123456789abcdef".repeat(MIB / 16), "1 MiB of text");
    await closeWell(socket);
  }],

  ["a binary message of 1 MiB comes back unchanged", async (address) => {
    const socket = await open(address);
    const bytes = noise(MIB, 99);
    expectBytes(await echo(socket, bytes), bytes, "1 MiB");
    await closeWell(socket);
  }],

  ["text of every UTF-8 length comes back unchanged", async (address) => {
    const socket = await open(address);
    for (const text of ["\u0000", "\u007f\u0080", "ß", "\u07ff\u0800", "€", "\ud7ff\ue000", "\ufffd\uffff", "👋", "\u{10ffff}", "नमस्ते, Καλημέρα, こんにちは, 👩‍👩‍👧"]) {
      await expectText(socket, text, `text ${JSON.stringify(text)}`);
    }
    await closeWell(socket);
  }],

  ["an unpaired surrogate arrives as U+FFFD", async (address) => {
    const socket = await open(address);
    same(await echo(socket, "a\ud800b"), "a\ufffdb", "text");
    await closeWell(socket);
  }],

  ["long text of characters of several bytes comes back unchanged", async (address) => {
    const socket = await open(address);
    await expectText(socket, "€👋ß".repeat(20_000), "180,000 bytes of mixed characters");
    await closeWell(socket);
  }],

  ["close with 1000 and a reason is answered with 1000", async (address) => {
    await expectCloseAnswered(address, 1000, "done for now");
  }],

  ["close codes of applications are answered with the same code", async (address) => {
    for (const code of [3000, 3999, 4000, 4999]) await expectCloseAnswered(address, code, `code ${code} ✓`);
  }],

  ["close without a code is answered without one", async (address) => {
    const end = await expectClose(address);
    same(end.code, 1005, "close code");
    same(end.reason, "", "reason");
    check(end.wasClean, "the closing handshake was not clean");
  }],

  ["a reason of 123 bytes is taken", async (address) => {
    const reason = "ü".repeat(61) + "!";
    same(new TextEncoder().encode(reason).length, REASON_BYTES_MAX, "bytes of the reason");
    await expectCloseAnswered(address, 4001, reason);
  }],

  ["bufferedAmount drains to zero", async (address) => {
    const socket = await open(address);
    const all = receive(socket, 8);
    for (let number = 0; number < 8; number++) socket.send(noise(256 * 1024, number + 1));
    check(socket.bufferedAmount > 0, "nothing was buffered after 2 MiB");
    const answers = await all;
    answers.forEach((answer, number) => expectBytes(answer, noise(256 * 1024, number + 1), `message ${number}`));
    same(socket.bufferedAmount, 0, "bufferedAmount");
    await closeWell(socket);
  }],

  ["10,000 messages come back in order", async (address) => {
    const socket = await open(address);
    const count = 10_000;
    const all = receive(socket, count);
    for (let number = 0; number < count; number++) socket.send(`message ${number}`);
    (await all).forEach((answer, number) => check(answer === `message ${number}`, `${answer} came as number ${number}`));
    await closeWell(socket);
  }],

  ["text and binary of mixed sizes keep order and kind", async (address) => {
    const socket = await open(address);
    const count = 500;
    const payload = (number) => {
      const length = (number * 7919) % 5000;
      return number % 2 ? noise(length, number + 1) : `${number}:`.padEnd(length, "·");
    };
    const all = receive(socket, count);
    for (let number = 0; number < count; number++) socket.send(payload(number));
    (await all).forEach((answer, number) => {
      const expected = payload(number);
      if (typeof expected === "string") check(answer === expected, `message ${number} changed`);
      else expectBytes(answer, expected, `message ${number}`);
    });
    await closeWell(socket);
  }],

  ["two sockets do not see each other's messages", async (address) => {
    const [first, second] = await Promise.all([open(address), open(address)]);
    const [firstAll, secondAll] = [receive(first, 300), receive(second, 300)];
    for (let number = 0; number < 300; number++) {
      first.send(`first ${number}`);
      second.send(`second ${number}`);
    }
    (await firstAll).forEach((answer, number) => same(answer, `first ${number}`, "first socket"));
    (await secondAll).forEach((answer, number) => same(answer, `second ${number}`, "second socket"));
    await closeWell(first);
    await expectText(second, "still here", "second socket after the first has closed");
    await closeWell(second);
  }],

  ["opening and closing 60 times in a row works each time", async (address) => {
    for (let number = 0; number < 60; number++) {
      const socket = await open(address);
      await expectText(socket, `visit ${number}`, "visit");
      await closeWell(socket);
    }
  }],

  ["a path and a query are accepted", async (address) => {
    const socket = await open(new URL("/?room=1&name=%E2%82%AC", address).href);
    await expectText(socket, "with a query", "query");
    await closeWell(socket);
  }],

  ["the server chooses no subprotocol and no unknown extension", async (address) => {
    const socket = await open(address);
    same(socket.protocol, "", "subprotocol");
    check(["", "permessage-deflate"].includes(socket.extensions.split(";")[0]), `extensions: ${socket.extensions}`);
    await closeWell(socket);
  }],
];
