// A process of an application that answers over HTTP: node server.ts <Redis URL> <contender>.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ClusteredRedisStore } from "clustered-redis-store";
import { RedisStore } from "connect-redis";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import type { Contender } from "./contenders.ts";

const STALE_MS = 600_000;
const MAX_AGE_MS = 3_600_000;

const [url, contender] = process.argv.slice(2) as [string, Contender];
const client = createClient({ url });
client.on("error", () => {});
await client.connect();

function createStore(): session.Store {
  if (contender === "connect-redis") return new RedisStore({ client });
  const localCache = contender === "staleIfErrorMs" ? { staleIfErrorMs: STALE_MS } : true;
  const store = new ClusteredRedisStore({ client, localCache });
  store.on("clusterError", () => {});
  return store;
}

const store = createStore();
if (store instanceof ClusteredRedisStore) await store.ready();
const app = express();
app.use(
  session({
    store,
    secret: "bench",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: MAX_AGE_MS },
  }),
);
app.get("/log-in", (req, res) => {
  Object.assign(req.session, { user: "ada", text: "x".repeat(1_000) });
  res.end();
});
app.get("/", (req, res) => {
  // A visitor who is not known any more would be logged out.
  res.status("user" in req.session ? 200 : 401).end("hello");
});
const onError: express.ErrorRequestHandler = (_error, _req, res, _next) => {
  if (!res.headersSent) res.status(503).end();
};
app.use(onError);
const server = createServer(app).listen(0, "127.0.0.1");
// Visitors would sometimes use a connection in the moment in which it is closed.
server.keepAliveTimeout = 0;

export const handlers = {
  port: (): number => (server.address() as AddressInfo).port,
};
serve(handlers);
