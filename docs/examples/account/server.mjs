// An account page: the devices that are logged in, "log out the others", "log out everywhere".
// npm install clustered-redis-store express express-session redis
import { createHash } from "node:crypto";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const store = new ClusteredRedisStore({ client, indexBy: (session) => session.userId });
const secret = process.env.SESSION_SECRET ?? "change me";

const app = express();
app.use(express.json());
app.use(session({ store, secret, resave: false, saveUninitialized: false, cookie: { maxAge: 3_600_000 } }));

app.post("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.userId = req.body.user; // after you have checked a password
    req.session.device = req.get("user-agent") ?? "unknown";
    req.session.since = new Date().toISOString();
    res.json({ user: req.session.userId });
  });
});

const loggedIn = (req, res, next) => (req.session.userId ? next() : res.status(401).json({}));
// Whoever has a session's id has the session: it never leaves the server but in its own cookie.
const labelOf = (sid) => createHash("sha256").update(sid).digest("hex").slice(0, 12);

app.get("/account/devices", loggedIn, async (req, res) => {
  const found = await store.sessionsOf(req.session.userId);
  const devices = found.map(({ sid, session: { device, since } }) => {
    return { label: labelOf(sid), device, since, isThis: sid === req.sessionID };
  });
  res.json({ devices });
});
app.post("/account/log-out-others", loggedIn, async (req, res) => {
  res.json({ ended: await store.destroyAllOf(req.session.userId, { except: req.sessionID }) });
});
app.post("/account/log-out-everywhere", loggedIn, async (req, res) => {
  res.json({ ended: await store.destroyAllOf(req.session.userId) });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
