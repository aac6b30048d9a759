// Fastify: @fastify/session accepts stores of express-session. It creates the session objects itself, so the store cannot
// distinguish a loaded one from a new one: a request that is still running at a logout may restore the session.
// npm install clustered-redis-store express-session redis fastify @fastify/cookie @fastify/session
import { randomBytes } from "node:crypto";
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { ClusteredRedisStore } from "clustered-redis-store";
import Fastify from "fastify";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes; 32 characters or more
const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message || error.code));
await client.connect();

const store = new ClusteredRedisStore({ client });

const app = Fastify(); // behind a proxy that ends TLS: Fastify({ trustProxy: 1 })
await app.register(cookie);
await app.register(session, {
  store,
  secret,
  saveUninitialized: false,
  rolling: false, // or each request is a write, which the other processes must read; a session lives for maxAge after its last change
  // "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you
  // do not trust those, or accept forms, check the Origin header or a CSRF token as well.
  cookie: { sameSite: "lax", secure: "auto", maxAge: 3_600_000 },
});

const user = { type: "string", minLength: 1, maxLength: 64 };
const schema = { body: { type: "object", required: ["user"], properties: { user } } };
app.post("/login", { schema }, async (request) => {
  await request.session.regenerate();
  request.session.user = request.body.user; // after you have checked a password
  return { user: request.session.user };
});
app.get("/me", async (request, reply) => {
  if (!request.session.user) return reply.code(401).send({ error: "not logged in" });
  return { user: request.session.user, visits: request.session.visits ?? 0 };
});
app.post("/visit", async (request, reply) => {
  if (!request.session.user) return reply.code(401).send({ error: "not logged in" });
  request.session.visits = (request.session.visits ?? 0) + 1;
  return { visits: request.session.visits };
});
app.post("/logout", async (request, reply) => {
  await request.session.destroy();
  reply.clearCookie("sessionId", { path: "/" });
  return {};
});

// Runs when the app is closed, after the last request.
app.addHook("onClose", async () => {
  await store.close();
  client.destroy();
  console.log("stopped");
});
process.once("SIGTERM", () => app.close());

await app.listen({ port: Number(process.env.PORT ?? 3000) });
console.log(`listening on http://localhost:${app.server.address().port}`);

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
