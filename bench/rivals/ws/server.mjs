// Echo, or fan-out with "fan-out" as second argument, on ws, with the native module that it recommends.
// usage: node server.mjs PORT [fan-out] [deflate]
import { WebSocket, WebSocketServer } from "ws";

const [port, ...words] = process.argv.slice(2);
const fanOut = words.includes("fan-out");
const deflate = words.includes("deflate");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(port),
  backlog: 4096,
  clientTracking: fanOut,
  maxPayload: 64 * 1024 * 1024,
  perMessageDeflate: deflate && { threshold: 0 },
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
