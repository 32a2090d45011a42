// What the applications for Node share: the echoing WebSocket, the block of a download, a pause.
import { WebSocketServer } from "ws";

export const block = Buffer.from(Array.from({ length: 65536 }, (_, n) => n % 256));
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Answers WebSocket handshakes for /ws on an http.Server. */
export function attachEcho(server) {
  const sockets = new WebSocketServer({ server, path: "/ws" });
  sockets.on("connection", (socket) => {
    socket.on("error", () => socket.terminate());
    socket.on("message", (data, binary) => {
      if (!binary && data.toString() === "close") socket.close(4001, "as asked");
      else socket.send(data, { binary });
    });
  });
}
