// An authorization server that is OpenID Certified, on a free loopback port; it ends when its standard input does.
// Usage: node server.mjs REDIRECT_URI. It prints its issuer.
import { createServer } from "node:http";

import Provider from "oidc-provider";

const [redirectUri] = process.argv.slice(2);

const client = {
  client_secret: "fake client/secret:+%",
  grant_types: ["authorization_code", "refresh_token"],
  redirect_uris: [redirectUri],
  response_types: ["code"],
};

const configuration = {
  clients: [
    { ...client, client_id: "basic:client", token_endpoint_auth_method: "client_secret_basic" },
    { ...client, client_id: "body-client", token_endpoint_auth_method: "client_secret_post" },
  ],
  cookies: { keys: ["fake-cookie-key"] },
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  scopes: ["openid", "offline_access", "orders.read"],
  ttl: {
    AccessToken: 600,
    AuthorizationCode: 60,
    Grant: 3600,
    IdToken: 600,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 600,
  },
};

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  server.on("request", new Provider(issuer, configuration).callback());
  console.log(issuer);
});
process.stdin.on("end", () => process.exit(0)).resume();
