// What an orchestrator expects of a process: liveness, readiness, and a shutdown in bounded time.
// npm install clustered-redis-store express express-session redis
import { randomBytes } from "node:crypto";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
client.connect().catch(() => {}); // the process starts without Redis, and is ready once Redis is

const store = new ClusteredRedisStore({ client });
let isStopping = false;

const app = express();
// One proxy stands in front, and sets X-Forwarded-Proto: "auto" below depends on it. Without a proxy, remove this line.
app.set("trust proxy", 1);
// Before the sessions: probes bring none. Liveness does not depend on Redis, because a restart would not repair Redis.
app.get("/live", (_req, res) => res.json({ alive: true }));
app.get("/ready", async (_req, res) => {
  const health = await store.health(); // never rejects, and takes at most commandTimeoutMs
  // Not `subscribed`: without the subscription, reads are correct but slower, and all processes may have lost it at once.
  res.status(health.redis && !isStopping ? 200 : 503).json(health);
});
const cookie = { sameSite: "lax", secure: "auto" };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));
app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ views: req.session.views });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

// SIGTERM: Docker, Kubernetes, systemd. SIGINT: PM2, and Ctrl-C in a terminal.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);

async function stop() {
  if (isStopping) return; // both signals may arrive
  isStopping = true;
  // No new connections. Requests in flight get ten seconds.
  const late = setTimeout(() => server.closeAllConnections(), 10_000);
  await new Promise((resolve) => server.close(resolve));
  clearTimeout(late);
  await store.close(); // within commandTimeoutMs, even if Redis is gone
  client.destroy(); // not close(): that waits for a Redis that may not come back
  process.disconnect?.(); // a child of node:cluster, PM2 or fork() is otherwise kept alive by the channel to its parent
  console.log("stopped"); // and the process ends by itself, because nothing is left open
}

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
