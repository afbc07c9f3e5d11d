// Echo, or fan-out with "fan-out" as second argument, on the WebSocket server that Bun brings. Over TLS where
// TLS_CERT and TLS_KEY name files.
// usage: bun server.mjs PORT [fan-out] [deflate]
const [port, ...words] = process.argv.slice(2);
const { TLS_CERT, TLS_KEY } = process.env;
const fanOut = words.includes("fan-out");
const deflate = words.includes("deflate");

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  tls: TLS_CERT && { cert: Bun.file(TLS_CERT), key: Bun.file(TLS_KEY) },
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("WebSocket only", { status: 426 });
  },
  websocket: {
    idleTimeout: 0,
    sendPings: false,
    maxPayloadLength: 64 * 1024 * 1024,
    backpressureLimit: 64 * 1024 * 1024,
    perMessageDeflate: deflate ? { compress: "shared", decompress: "shared" } : false,
    // Without copies into new buffers for each message.
    binaryType: "uint8array",
    open(socket) {
      if (fanOut) socket.subscribe("all");
    },
    message(socket, message) {
      if (fanOut) server.publish("all", message);
      else socket.send(message, deflate);
    },
  },
});
