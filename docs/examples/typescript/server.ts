// TypeScript: an augmentation of express-session's SessionData declares what a session contains.
// npm install clustered-redis-store express express-session redis
// npm install --save-dev typescript tsx @types/express @types/express-session @types/node
// npm pkg set type=module && npx tsx server.ts
import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { ClusteredRedisStore } from "clustered-redis-store";
import express, { type RequestHandler } from "express";
import session, { type CookieOptions } from "express-session";
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

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL ?? "redis://localhost:6379" });
client.on("error", (error: NodeJS.ErrnoException) => console.error("redis:", error.message || error.code));
await client.connect();

// The store knows the type, too: here, sessions without a user live for a shorter time.
const store = new ClusteredRedisStore({ client, ttl: (data) => (data.user === undefined ? 600 : 86_400) });

const loggedIn: RequestHandler = (req, res, next) => {
  if (req.session.user === undefined) res.status(401).json({ error: "not logged in" });
  else next();
};

const app = express();
app.use(express.json());
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie: CookieOptions = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));
app.post("/login", (req, res, next) => {
  const user: unknown = req.body?.user;
  if (typeof user !== "string" || user === "") return void res.status(400).json({ error: "user is missing" });
  req.session.regenerate((error) => {
    if (error) return next(error);
    req.session.user = user; // after you have checked a password
    res.json({ user });
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
  req.session.destroy((error) => {
    if (error) return next(error);
    res.clearCookie("connect.sid").json({});
  });
});

const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${(server.address() as AddressInfo).port}`);
});

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret(): string {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
