// A real OP, oidc-provider, that introspects its opaque access tokens (RFC 7662) for the client `guard`.
// What a person would do at it has an address beside it: /mint?sub=, /revoke?token=
import { createServer } from "node:http";
import Provider from "oidc-provider";
import { options, say } from "./say.mjs";

const client = {
  client_id: "guard",
  client_secret: options.secret,
  grant_types: ["authorization_code"],
  redirect_uris: ["https://client.example.test/callback"],
};
let callback = (_request, response) => response.end();
const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, "http://127.0.0.1");
  const action = actions[pathname];
  if (action === undefined) return callback(request, response);
  action(searchParams).then((text) => response.end(text), (error) => response.writeHead(500).end(String(error)));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [client],
  features: { introspection: { enabled: true }, devInteractions: { enabled: false } },
  findAccount: (_context, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  ttl: { AccessToken: options.lifetime ?? 3600, Grant: 86400 },
});
callback = provider.callback();

const actions = {
  "/mint": async (query) => {
    const accountId = query.get("sub");
    const grant = new provider.Grant({ clientId: "guard", accountId });
    grant.addOIDCScope("openid");
    const token = new provider.AccessToken({
      accountId,
      client: await provider.Client.find("guard"),
      grantId: await grant.save(),
      gty: "authorization_code",
      scope: "openid",
    });
    return token.save();
  },
  "/revoke": async (query) => {
    const token = await provider.AccessToken.find(query.get("token"));
    await token.destroy();
    return "";
  },
};
provider.on("introspection.error", (context, error) => say("introspection.error", { error: error.message }));
say("listening", { url });
