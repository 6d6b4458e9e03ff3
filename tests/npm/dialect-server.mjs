// Just enough of a Centrifugo or Pusher server for the real client libraries to feel connected.
import { WebSocketServer } from "ws";
import { options, say } from "./say.mjs";

const greet = {
  pusher: (socket) => {
    const data = JSON.stringify({ socket_id: "1.1", activity_timeout: 120 });
    socket.send(JSON.stringify({ event: "pusher:connection_established", data }));
  },
  centrifuge: (socket) =>
    socket.on("message", (data) => {
      const { id, connect } = JSON.parse(data);
      if (connect) socket.send(JSON.stringify({ id, connect: { client: "c1", version: "0", ping: 25, pong: true } }));
    }),
};
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", greet[options.dialect]);
server.on("listening", () => say("listening", { port: server.address().port }));
