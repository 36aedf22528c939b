// One conversation of Rocket.Chat's own client library with the service; prints what came of each call as JSON.
// Its argument is JSON: url, and either userId and token, or user and password and perhaps code (a second factor).

import client from "@rocket.chat/api-client";

const wanted = JSON.parse(process.argv[2]);
const rest = new client.RestClient({ baseUrl: wanted.url });
const told = {};

async function call(name, action) {
  try {
    told[name] = await action();
  } catch (refused) {
    told[name] = { refused: refused.status, body: await refused.json(), limit: refused.headers.get("X-RateLimit-Limit") };
  }
  return told[name];
}

if (wanted.code) {
  rest.handleTwoFactorChallenge(async ({ method }) => (method === "totp" ? wanted.code : ""));
}
told.info = await rest.get("/v1/info");
if (wanted.user) {
  const { data } = await call("login", () => rest.post("/v1/login", { user: wanted.user, password: wanted.password }));
  if (data) {
    rest.setCredentials({ "X-User-Id": data.userId, "X-Auth-Token": data.authToken });
  }
} else {
  rest.setCredentials({ "X-User-Id": wanted.userId, "X-Auth-Token": wanted.token });
}
await call("me", () => rest.get("/v1/me"));
await call("send", () => rest.post("/v1/mailer", wanted.payload));
await call("refused", () => rest.post("/v1/mailer", { ...wanted.payload, from: "nobody" }));
await call("campaigns", () => rest.get("/v1/mailer/campaigns", { count: 5 }));
await call("logout", () => rest.post("/v1/logout"));
await call("after", () => rest.get("/v1/me"));
console.log(JSON.stringify(told));
