// A Socket.IO client that starts with polling and moves up to WebSocket.
import { io } from "socket.io-client";
import { options, say } from "./say.mjs";

const { url, headers = {}, transports = ["polling", "websocket"], size = 100_000 } = options;
const socket = io(url, { extraHeaders: headers, transports, reconnection: false, perMessageDeflate: { threshold: 0 } });
const blob = Buffer.alloc(size, "abc");
socket.on("connect", () => {
  say("connect", { transport: socket.io.engine.transport.name });
  const talk = () =>
    socket.emit("shout", "hello", (answer) =>
      socket.emit("blob", blob, (echoed) =>
        say("answer", { answer, same: blob.equals(echoed), transport: socket.io.engine.transport.name }),
      ),
    );
  if (socket.io.engine.transport.name === "websocket" || !transports.includes("websocket")) talk();
  else socket.io.engine.once("upgrade", talk);
});
socket.on("connect_error", (error) => say("connect_error", { message: error.message }));
socket.on("disconnect", (reason, details) =>
  say("disconnect", { reason, code: details?.context?.code ?? details?.description?.code }),
);
