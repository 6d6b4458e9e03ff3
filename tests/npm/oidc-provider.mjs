// An OpenID provider nobody here wrote, with back-channel logout: any name logs in, with any password.
import { Provider } from "oidc-provider";
import { options, say } from "./say.mjs";

const provider = new Provider(options.issuer, {
  clients: [
    {
      client_id: "web",
      client_secret: "secret-of-the-tests",
      redirect_uris: [options.redirect],
      backchannel_logout_uri: options.logout,
      backchannel_logout_session_required: options.session,
    },
  ],
  cookies: { keys: ["signs the cookies of the tests"] },
  features: { backchannelLogout: { enabled: true } },
  // Its own fetch refuses loopback addresses, by the dispatcher that it hands over.
  fetch: (url, { dispatcher, ...request }) => fetch(url, request),
  pkce: { required: () => false },
  ttl: { IdToken: 3600 },
});
provider.on("backchannel.success", () => say("told"));
provider.on("backchannel.error", (_, error) => say("not-told", { message: error.message }));
provider.on("server_error", (_, error) => say("error", { message: error.stack }));
provider.listen(new URL(options.issuer).port, "127.0.0.1", () => say("listening"));
