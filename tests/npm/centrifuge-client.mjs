// The Centrifuge client with its own retry loop, its waits made short.
import { Centrifuge } from "centrifuge";
import { BrowserLike, options, say } from "./say.mjs";

const client = new Centrifuge(options.url, { websocket: BrowserLike, minReconnectDelay: 50, maxReconnectDelay: 100 });
client.on("connecting", ({ code, reason }) => code && say("retrying", { code, reason }));
client.on("error", ({ type, error }) => say("error", { type, code: error?.code }));
client.on("connected", () => say("connected"));
client.on("disconnected", ({ code, reason }) => say("gave-up", { code, reason }));
client.connect();
