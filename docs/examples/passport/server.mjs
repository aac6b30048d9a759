// Passport with a password, a logout on every process, and a logout on every device.
// npm install clustered-redis-store express express-session redis passport passport-local
import { randomBytes } from "node:crypto";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import passport from "passport";
import { Strategy } from "passport-local";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
await client.connect();

const store = new ClusteredRedisStore({ client, indexBy: (session) => session.passport?.user });

// In place of this: your database, and hashed passwords.
const users = new Map([["ada", { name: "ada", password: "lovelace" }]]);
passport.use(
  new Strategy({ usernameField: "user" }, (name, password, done) => {
    const user = users.get(name);
    done(null, user?.password === password ? user : false);
  }),
);
// Only the name goes into the session.
passport.serializeUser((user, done) => done(null, user.name));
passport.deserializeUser((name, done) => done(null, users.get(name) ?? false));

const app = express();
app.use(express.json());
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));
app.use(passport.session());

const loggedIn = (req, res, next) => (req.isAuthenticated() ? next() : res.status(401).json({}));
// passport.authenticate makes a new session id, and passport.session() loads the user for each request.
app.post("/login", passport.authenticate("local"), (req, res) => res.json({ user: req.user.name }));
app.get("/me", loggedIn, (req, res) => res.json({ user: req.user.name, visits: req.session.visits ?? 0 }));
app.post("/visit", loggedIn, (req, res) => {
  req.session.visits = (req.session.visits ?? 0) + 1;
  res.json({ visits: req.session.visits });
});
app.post("/logout", (req, res, next) => {
  // req.logout would keep the session, without the user; this ends it, whatever else is in it.
  req.session.destroy((error) => {
    if (error) return next(error);
    res.clearCookie("connect.sid").json({});
  });
});
app.post("/log-out-everywhere", loggedIn, async (req, res) => {
  const ended = await store.destroyAllOf(req.user.name);
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
