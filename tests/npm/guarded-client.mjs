// client.js on npm ws: queues its messages, and tells what becomes of them.
import GuardedWebSocket from "../../wsguard/client/client.js";
import { BrowserLike, options, say } from "./say.mjs";

const { url, protocols = [], messages = [], bytes = [], client = {} } = options;
const socket = new GuardedWebSocket(url, protocols, { WebSocket: BrowserLike, ...client });
socket.binaryType = "arraybuffer";
for (const type of ["open", "error", "close", "away"])
  socket.addEventListener(type, ({ code, reason, advice, delay }) => say(type, { code, reason, advice, delay }));
socket.onmessage = ({ data }) => {
  const text = typeof data === "string";
  say("message", text ? { data } : { bytes: [...new Uint8Array(data)] });
  if (text && data === messages.at(-1)) socket.close(1000, "done");
};
if (bytes.length) socket.send(new Uint8Array(bytes));
for (const message of messages) socket.send(message);
