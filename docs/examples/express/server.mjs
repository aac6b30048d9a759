// Express, 5 or 4: login, a page that changes the session, logout.
// npm install clustered-redis-store express express-session redis
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const store = new ClusteredRedisStore({ client });
const secret = process.env.SESSION_SECRET ?? "change me";

const app = express();
app.use(express.json());
app.use(session({ store, secret, resave: false, saveUninitialized: false, cookie: { maxAge: 3_600_000 } }));

app.post("/login", (req, res, next) => {
  // A new id at login: whoever knew the old one does not get in.
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = req.body.user; // after you have checked a password
    res.json({ user: req.session.user });
  });
});
app.get("/me", (req, res) => {
  if (!req.session.user) return res.status(401).json({ error: "not logged in" });
  res.json({ user: req.session.user, visits: req.session.visits ?? 0 });
});
app.post("/visit", (req, res) => {
  if (!req.session.user) return res.status(401).json({ error: "not logged in" });
  req.session.visits = (req.session.visits ?? 0) + 1;
  res.json({ visits: req.session.visits });
});
app.post("/logout", (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
