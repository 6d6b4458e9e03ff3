// The graphql-ws client with its own retry loop, its waits made short.
import { createClient } from "graphql-ws";
import { BrowserLike, options, say } from "./say.mjs";

const { url, query = "subscription { count(to: 0) }", attempts = 3, params } = options;
const client = createClient({
  url,
  webSocketImpl: BrowserLike,
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
