// An account page: the devices that are logged in, three at most; "log out this one", "the others", "everywhere".
// npm install clustered-redis-store express express-session redis
import { randomBytes } from "node:crypto";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
await client.connect();

const store = new ClusteredRedisStore({ client, indexBy: (session) => session.userId });

const app = express();
app.use(express.json());
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));

const MAX_NAME = 64;
const MAX_DEVICE = 200;
const MAX_DEVICES = 3;

app.post("/login", (req, res, next) => {
  const user = req.body?.user;
  // indexBy takes strings that are not empty, and an object in place of a string would end up in the session.
  if (typeof user !== "string" || user === "" || user.length > MAX_NAME) {
    return res.status(400).json({ error: `user: expected a string of 1 to ${MAX_NAME} characters` });
  }
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.userId = user; // after you have checked a password
    req.session.device = (req.get("user-agent") ?? "unknown").slice(0, MAX_DEVICE);
    // Saved now, so that it is counted: whoever logs in once too often ends the oldest session.
    req.session.save(async (error) => {
      if (error) return next(error);
      const others = { keepNewest: MAX_DEVICES, except: req.sessionID };
      const ended = await store.destroyAllOf(user, others).catch(next);
      if (ended !== undefined) res.json({ user, ended });
    });
  });
});

const loggedIn = (req, res, next) => (req.session.userId ? next() : res.status(401).json({}));

// A session id gives access to the session: only the session's own cookie may contain it. A page gets the publicId.
app.get("/account/devices", loggedIn, async (req, res) => {
  const found = await store.sessionsOf(req.session.userId);
  const devices = found.map(({ sid, publicId, session: { device }, since, lastActiveAt }) => {
    return { id: publicId, device, since, lastActiveAt, isThis: sid === req.sessionID };
  });
  res.json({ devices });
});
app.post("/account/log-out-device", loggedIn, async (req, res) => {
  const id = String(req.body?.id);
  const found = await store.destroyOf(req.session.userId, id); // among the user's own: nobody can end somebody else's
  res.status(found ? 200 : 404).json({ ended: found ? 1 : 0 });
});
app.post("/account/log-out-others", loggedIn, async (req, res) => {
  res.json({ ended: await store.destroyAllOf(req.session.userId, { except: req.sessionID }) });
});
app.post("/account/log-out-everywhere", loggedIn, async (req, res) => {
  const ended = await store.destroyAllOf(req.session.userId);
  res.clearCookie("connect.sid").json({ ended });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
