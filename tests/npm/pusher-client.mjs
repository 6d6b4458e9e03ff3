// The Pusher client with its own retry loop.
import Pusher from "pusher-js";
import { options, say } from "./say.mjs";

const { hostname, port } = new URL(options.url);
const pusher = new Pusher("key", {
  cluster: "",
  wsHost: hostname,
  wsPort: Number(port),
  forceTLS: false,
  enabledTransports: ["ws"],
  disableStats: true,
});
pusher.connection.bind("connecting_in", (seconds) => say("retrying", { seconds }));
pusher.connection.bind("connected", () => say("connected"));
for (const end of ["disconnected", "failed"]) pusher.connection.bind(end, () => say("gave-up", { end }));
pusher.connection.bind("error", (error) => say("error", { code: error?.data?.code ?? error?.error?.data?.code }));
