// Not run: tsc says whether the types allow what is meant to be written, and nothing that is not.
import WebSocket, { advise, type Advice, type Closed, retryAfter } from "../../wsguard/client/client.js";

const socket = new WebSocket("/ws", ["chat"], {
  onauthrequired: async (close: Closed) => void close.code,
  advise: ({ code }) => (code === 4999 ? "back off" : undefined),
  id: (data) => JSON.parse(data).id,
  renew: () => fetch("/refresh"),
});
socket.binaryType = "arraybuffer";
socket.onclose = ({ code, reason, wasClean }) => console.log(code, reason.length, wasClean);
socket.addEventListener("away", ({ advice, delay }) => console.log(advice satisfies Advice, delay?.toFixed()));
socket.addEventListener("message", ({ data }) => socket.send(data));
socket.send(new Uint8Array(1));
const state: 0 | 1 | 2 | 3 = socket.readyState;
const text: Advice = advise(4401);
const seconds: number | undefined = retryAfter("draining retry-after=1");
new WebSocket("ws://app.test", async () => "chat", { renew: true, hint: null });

// What takes a native one takes this one.
const lives = (it: Pick<globalThis.WebSocket, "send" | "close" | "readyState" | "binaryType" | "url" | "OPEN">) => it;
lives(socket);

// @ts-expect-error an action that nobody has heard of
new WebSocket("/ws", [], { advise: () => "reconnect now" });
// @ts-expect-error a misspelt option
new WebSocket("/ws", [], { firstdelay: 1 });
// @ts-expect-error it is read
socket.readyState = 1;
console.log(state, text, seconds, WebSocket.OPEN);
