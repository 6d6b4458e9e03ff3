// Sends messages through npm ws, compressed, and tells what came back.
import { WebSocket } from "ws";
import { options, say } from "./say.mjs";

const { url, protocols = [], headers = {}, messages = [], stay = false } = options;
const socket = new WebSocket(url, protocols, { headers, perMessageDeflate: { threshold: 0 } });
const waiting = [...messages];
socket.on("open", () => {
  say("open", { extensions: socket.extensions, protocol: socket.protocol });
  messages.forEach((message) => socket.send(message));
  if (!messages.length && !stay) socket.close(1000, "done");
});
socket.on("message", (data) => {
  say("message", { same: data.toString() === waiting.shift(), length: data.length });
  if (!waiting.length && !stay) socket.close(1000, "done");
});
socket.on("pong", (data) => say("pong", { data: data.toString() }));
socket.on("close", (code, reason) => say("close", { code, reason: reason.toString() }));
socket.on("error", (error) => say("error", { message: error.message }));
