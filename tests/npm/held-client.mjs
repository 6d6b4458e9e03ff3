// The graphql-ws client with a subscription that goes on and on, and the Ping by which a guard says that it has moved.
import { createClient } from "graphql-ws";
import { BrowserLike, options, say } from "./say.mjs";

const client = createClient({
  url: options.url,
  webSocketImpl: BrowserLike,
  retryAttempts: 0,
  on: {
    connected: () => say("connected"),
    closed: ({ code, reason }) => say("closed", { code, reason }),
    ping: (received, payload) => received && say("told", { payload }),
  },
});
client.subscribe(
  { query: "subscription { ticks }" },
  { next: ({ data }) => say("tick", { tick: data.ticks }), error: () => say("error"), complete: () => say("complete") },
);
