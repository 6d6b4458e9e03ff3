// Just enough of a Centrifugo, Pusher, SignalR or Phoenix server for the real client libraries to feel connected. It
// speaks what each protocol's own documentation says; nothing here is theirs.
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
  // The hub protocol in JSON: records end with 0x1E, the first chooses the protocol. `Shout` answers in capitals.
  signalr: (socket) => {
    const send = (record) => socket.send(JSON.stringify(record) + "\x1e");
    socket.on("message", (data) => {
      for (const text of data.toString().split("\x1e").slice(0, -1)) {
        const { protocol, type, invocationId, arguments: words } = JSON.parse(text);
        if (protocol) send({});
        else if (type === 1) send({ type: 3, invocationId, result: words[0].toUpperCase() });
        else if (type === 6) send({ type });
      }
    });
  },
  // The second version of the serializer: [join_ref, ref, topic, event, payload]. `shout` answers in capitals.
  phoenix: (socket) =>
    socket.on("message", (data) => {
      const [joinRef, ref, topic, event, payload] = JSON.parse(data);
      const response = event === "shout" ? { text: payload.text.toUpperCase() } : {};
      socket.send(JSON.stringify([joinRef, ref, topic, "phx_reply", { status: "ok", response }]));
    }),
};
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
server.on("connection", greet[options.dialect]);
server.on("listening", () => say("listening", { port: server.address().port }));
