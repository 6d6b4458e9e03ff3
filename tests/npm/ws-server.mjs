// An echo server on npm ws, with permessage-deflate.
import { WebSocketServer } from "ws";
import { say } from "./say.mjs";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: { threshold: 0 },
  handleProtocols: (offered) => [...offered][0],
});
server.on("listening", () => say("listening", { port: server.address().port }));
server.on("connection", (socket, request) => {
  say("connection", { extensions: socket.extensions, protocol: socket.protocol, headers: request.headers });
  socket.on("message", (data, binary) => socket.send(data, { binary, compress: true }));
  socket.on("ping", (data) => say("ping", { data: data.toString() }));
  socket.on("close", (code, reason) => say("close", { code, reason: reason.toString() }));
  socket.on("error", (error) => say("error", { message: error.message }));
});
