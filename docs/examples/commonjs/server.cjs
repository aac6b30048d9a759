// Plain CommonJS, without await at the top: the server listens at once, and the store waits for Redis.
// npm install clustered-redis-store express express-session redis
const { randomBytes } = require("node:crypto");
const { ClusteredRedisStore } = require("clustered-redis-store");
const express = require("express");
const session = require("express-session");
const { createClient } = require("redis");

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
client.connect().catch(() => {}); // reported by the listener above, and retried

const store = new ClusteredRedisStore({ client });

const app = express();
app.use(express.json());
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));

app.post("/login", (req, res, next) => {
  const user = req.body?.user;
  if (typeof user !== "string" || user === "") return res.status(400).json({ error: "user is missing" });
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = user; // after you have checked a password
    res.json({ user });
  });
});
app.get("/me", (req, res) => {
  if (!req.session.user) return res.status(401).json({ error: "not logged in" });
  res.json({ user: req.session.user, visits: req.session.visits || 0 });
});
app.post("/visit", (req, res) => {
  if (!req.session.user) return res.status(401).json({ error: "not logged in" });
  req.session.visits = (req.session.visits || 0) + 1;
  res.json({ visits: req.session.visits });
});
app.post("/logout", (req, res, next) => {
  req.session.destroy((error) => {
    if (error) return next(error);
    res.clearCookie("connect.sid").json({});
  });
});

const server = app.listen(process.env.PORT || 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
