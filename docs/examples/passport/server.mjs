// Passport with a password, a logout that holds on every process, and one that holds on every device.
// npm install clustered-redis-store express express-session redis passport passport-local
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import passport from "passport";
import { Strategy } from "passport-local";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const store = new ClusteredRedisStore({ client, indexBy: (session) => session.passport?.user });
const secret = process.env.SESSION_SECRET ?? "change me";

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
app.use(session({ store, secret, resave: false, saveUninitialized: false }));
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
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});
app.post("/log-out-everywhere", loggedIn, async (req, res) => {
  res.json({ ended: await store.destroyAllOf(req.user.name) });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
