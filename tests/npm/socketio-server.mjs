// A Socket.IO app with a page of its own, all on one port.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { options, say } from "./say.mjs";

const http = createServer((request, response) => response.end("the app's own page"));
const { transports = ["polling", "websocket"] } = options;
const io = new Server(http, { transports, perMessageDeflate: { threshold: 0 }, httpCompression: { threshold: 0 } });
io.on("connection", (socket) => {
  const headers = socket.handshake.headers;
  say("connection", { transport: socket.conn.transport.name, cookie: headers.cookie, user: headers["x-user"] });
  socket.conn.on("upgrade", () => {
    const { name, socket: wire } = socket.conn.transport;
    say("upgrade", { transport: name, extensions: wire.extensions });
  });
  socket.on("shout", (text, answer) => answer(text.toUpperCase()));
  socket.on("blob", (data, answer) => answer(data));
  socket.on("disconnect", (reason) => say("disconnect", { reason }));
});
http.listen(0, "127.0.0.1", () => say("listening", { port: http.address().port }));
