// Plain CommonJS, without await at the top: the server listens at once, and the store waits for Redis.
// npm install clustered-redis-store express express-session redis
const { ClusteredRedisStore } = require("clustered-redis-store");
const express = require("express");
const session = require("express-session");
const { createClient } = require("redis");

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
client.connect().catch(() => {}); // told by the listener above, and tried again

const store = new ClusteredRedisStore({ client });
const secret = process.env.SESSION_SECRET || "change me";

const app = express();
app.use(express.json());
app.use(session({ store, secret, resave: false, saveUninitialized: false }));

app.post("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = req.body.user;
    res.json({ user: req.session.user });
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
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});

const server = app.listen(process.env.PORT || 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
