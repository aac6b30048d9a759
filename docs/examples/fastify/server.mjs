// Fastify: @fastify/session takes stores of express-session. It makes the session objects itself, so the store cannot tell
// a loaded one from a new one: a request that runs on while another logs out may bring the session back.
// npm install clustered-redis-store express-session redis fastify @fastify/cookie @fastify/session
import cookie from "@fastify/cookie";
import session from "@fastify/session";
import { ClusteredRedisStore } from "clustered-redis-store";
import Fastify from "fastify";
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL }); // without REDIS_URL: localhost:6379
client.on("error", (error) => console.error("redis:", error.message));
await client.connect();

const store = new ClusteredRedisStore({ client });
const secret = process.env.SESSION_SECRET ?? "change me: it takes 32 characters or more";

const app = Fastify();
await app.register(cookie);
await app.register(session, { store, secret, saveUninitialized: false, cookie: { secure: "auto" } });

app.post("/login", async (request) => {
  await request.session.regenerate();
  request.session.user = request.body.user;
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
app.post("/logout", async (request) => {
  await request.session.destroy();
  return {};
});

// Fastify waits for it when the app is closed, after the last request.
app.addHook("onClose", async () => {
  await store.close();
  client.destroy();
  console.log("stopped");
});
process.once("SIGTERM", () => app.close());

await app.listen({ port: Number(process.env.PORT ?? 3000) });
console.log(`listening on http://localhost:${app.server.address().port}`);
