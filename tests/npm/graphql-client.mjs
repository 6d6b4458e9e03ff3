// The graphql-ws client with its own retry loop, its waits made short.
import { createClient } from "graphql-ws";
import GuardedWebSocket from "../../wsguard/client/client.js";
import { BrowserLike, options, say } from "./say.mjs";

class Guarded extends GuardedWebSocket {
  constructor(address, protocols) {
    super(address, protocols, { WebSocket: BrowserLike });
  }
}

const { url, query = "subscription { count(to: 0) }", attempts = 3, params, guarded = false } = options;
const client = createClient({
  url,
  webSocketImpl: guarded ? Guarded : BrowserLike,
  connectionParams: params,
  retryAttempts: attempts,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
  on: {
    connecting: (isRetry) => isRetry && say("retrying"),
    connected: () => say("connected"),
    closed: ({ code, reason }) => say("closed", { code, reason }),
  },
});
client.subscribe(
  { query },
  {
    next: (value) => say("next", value),
    error: (error) => say("gave-up", { code: error.code, reason: error.reason }),
    complete: () => say("complete"),
  },
);
