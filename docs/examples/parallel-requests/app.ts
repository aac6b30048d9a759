import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { type StoreName, storeOf } from "./stores.ts";

/**
 * One of the two processes: an application whose requests stop between loading their session and saving it, until the
 * parent lets them go on. So the order of things is the same in every run.
 */
const client = createClient({ url: String(process.env["REDIS_URL"]) });
client.on("error", () => {});
await client.connect();
const { store, ready } = await storeOf(
  process.env["STORE"] as StoreName,
  client,
  String(process.env["PREFIX"]),
);
await ready;

let waiting: (() => void)[] = [];
process.on("message", () => {
  for (const goOn of waiting) goOn();
  waiting = [];
});
const untilTold = () =>
  new Promise<void>((goOn) => {
    waiting.push(goOn);
    process.send?.("arrived");
  });

const app = express();
const secret = String(process.env["SESSION_SECRET"]);
app.use(session({ store, secret, resave: false, saveUninitialized: false, cookie: { maxAge: 600_000 } }));
app.get("/login", (request, response) => {
  Object.assign(request.session, { user: "ada" });
  response.end();
});
app.get("/add/:key", async (request, response) => {
  await untilTold();
  Object.assign(request.session, { [request.params.key]: true });
  response.end();
});
app.get("/session", (request, response) => {
  const { cookie: _, ...values } = request.session;
  response.json(values);
});
app.get("/logout", (request, response) => {
  request.session.destroy(() => response.end());
});
const server = app.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.(`http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`);
});
process.on("disconnect", () => process.exit());
