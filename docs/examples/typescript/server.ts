// TypeScript: what is in a session is said once, in an augmentation of express-session's SessionData.
// npm install clustered-redis-store express express-session redis
// npm install --save-dev typescript @types/express @types/express-session @types/node
import type { AddressInfo } from "node:net";
import { ClusteredRedisStore } from "clustered-redis-store";
import express, { type RequestHandler } from "express";
import session from "express-session";
import { createClient } from "redis";

interface Cart {
  visits: number;
}

declare module "express-session" {
  interface SessionData {
    user: string;
    cart: Cart;
  }
}

const client = createClient({ url: process.env.REDIS_URL ?? "redis://localhost:6379" });
client.on("error", (error: Error) => console.error("redis:", error.message));
await client.connect();

// What the store hands out has the type, too: here, how long a session lives depends on whose it is.
const store = new ClusteredRedisStore({ client, ttl: (data) => (data.user === undefined ? 600 : 86_400) });
const secret = process.env.SESSION_SECRET ?? "change me";

const loggedIn: RequestHandler = (req, res, next) => {
  if (req.session.user === undefined) res.status(401).json({ error: "not logged in" });
  else next();
};

const app = express();
app.use(express.json());
app.use(session({ store, secret, resave: false, saveUninitialized: false }));
app.post("/login", (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = String(req.body.user);
    res.json({ user: req.session.user });
  });
});
app.get("/me", loggedIn, (req, res) => {
  res.json({ user: req.session.user, visits: req.session.cart?.visits ?? 0 });
});
app.post("/visit", loggedIn, (req, res) => {
  req.session.cart = { visits: (req.session.cart?.visits ?? 0) + 1 };
  res.json(req.session.cart);
});
app.post("/logout", (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({})));
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${(server.address() as AddressInfo).port}`);
});
