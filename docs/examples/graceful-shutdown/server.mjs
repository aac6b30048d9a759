// What an orchestrator asks of a process: whether it lives, whether it is ready, and an end in bounded time.
// npm install clustered-redis-store express express-session redis
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
client.connect().catch(() => {}); // the process starts without Redis, and is ready when Redis is there

const store = new ClusteredRedisStore({ client });
const secret = process.env.SESSION_SECRET ?? "change me";
let isStopping = false;

const app = express();
// Before the sessions: probes bring none. Alive is who answers; a restart of this process would not mend Redis.
app.get("/live", (_req, res) => res.json({ alive: true }));
app.get("/ready", async (_req, res) => {
  const health = await store.health(); // never rejects, and takes commandTimeoutMs at most
  // Not `subscribed`: without the subscription answers are right, if slower, and there may be nobody else to send them to.
  res.status(health.redis && !isStopping ? 200 : 503).json(health);
});
app.use(session({ store, secret, resave: false, saveUninitialized: false }));
app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ views: req.session.views });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

process.once("SIGTERM", async () => {
  isStopping = true;
  // No new connections; requests under way get their answer, and at the latest in ten seconds it is over.
  const late = setTimeout(() => server.closeAllConnections(), 10_000);
  await new Promise((resolve) => server.close(resolve));
  clearTimeout(late);
  await store.close(); // within commandTimeoutMs, even if Redis is gone
  client.destroy(); // not close(): that waits for a Redis that may not come back
  process.disconnect?.(); // a child of node:cluster, PM2 or fork() is kept alive by the channel to its parent
  console.log("stopped"); // and the process ends by itself, because nothing is left open
});
