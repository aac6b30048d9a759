import { readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { createClient } from "redis";
import { io, type Socket } from "socket.io-client";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type ExampleProcess, spawnExample, startExample, Visitor } from "../support/example-process.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

/** Examples keep to the default prefix, as their readers will: so they get a server of their own. */
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

const ADA = { user: "ada", password: "lovelace" };

function startTwo(file: string, modules?: Record<string, string>): Promise<ExampleProcess[]> {
  return Promise.all([1, 2].map(() => startExample(file, redis.url, modules)));
}

const WEB = [
  ["Express 5", "express/server.mjs"],
  ["Express 4", "express/server.mjs", { express: "express4" }],
  ["CommonJS", "commonjs/server.cjs"],
  ["TypeScript", "typescript/server.ts"],
  ["Passport", "passport/server.mjs"],
  ["Fastify", "fastify/server.mjs"],
  ["NestJS", "nestjs/main.ts"],
] as const;

test.each(WEB)("%s: login, change and logout on two processes", async (_name, file, modules?) => {
  const [a, b] = (await startTwo(file, modules)) as [ExampleProcess, ExampleProcess];
  const visitor = new Visitor();
  expect((await visitor.get(a, "/me")).status).toBe(401);
  expect(await visitor.post(a, "/login", ADA)).toEqual({ status: 200, body: { user: "ada" } });
  expect(visitor.setCookie).toMatch(/; HttpOnly; SameSite=Lax$/);

  expect(await visitor.get(b, "/me")).toEqual({ status: 200, body: { user: "ada", visits: 0 } });
  expect(await visitor.post(b, "/visit")).toEqual({ status: 200, body: { visits: 1 } });
  await eventually(async () => {
    expect((await visitor.get(a, "/me")).body).toEqual({ user: "ada", visits: 1 });
    return true;
  });
  expect(await visitor.post(a, "/visit")).toEqual({ status: 200, body: { visits: 2 } });
  await eventually(async () => {
    expect((await visitor.get(b, "/me")).body).toEqual({ user: "ada", visits: 2 });
    return true;
  });

  const { cookie } = visitor;
  expect((await visitor.post(b, "/logout")).status).toBe(200);
  expect(visitor.setCookie).toMatch(/^[\w.]+=;.*Expires=Thu, 01 Jan 1970/);
  visitor.cookie = cookie;
  expect((await visitor.get(b, "/me")).status).toBe(401);
  await eventually(async () => {
    visitor.cookie = cookie;
    return (await visitor.get(a, "/me")).status === 401;
  });
});

test.each(WEB)("%s: requests that change nothing write nothing", async (_name, file, modules?) => {
  const app = await startExample(file, redis.url, modules);
  const admin = createClient({ url: redis.url });
  onTestFinished(() => admin.destroy());
  await admin.connect();
  const visitor = new Visitor();
  await visitor.post(app, "/login", ADA);
  const countWrites = async () => /^cmdstat_set:calls=(\d+)/m.exec(await admin.info("commandstats"))?.[1];
  const writes = await countWrites();
  expect(Number(writes)).toBeGreaterThan(0);
  for (let i = 0; i < 3; i++) expect((await visitor.get(app, "/me")).status).toBe(200);
  expect(await countWrites()).toBe(writes);
  await visitor.post(app, "/logout");
});

/** All that sign cookies for browsers. */
const SIGNING = new Set<string>([
  ...WEB.map(([, file]) => file),
  "account/server.mjs",
  "graceful-shutdown/server.mjs",
  "opentelemetry/server.mjs",
  "socket.io/server.mjs",
]);

test.each([...SIGNING])("%s does not start in production without a secret", async (file) => {
  const env = { REDIS_URL: redis.url, SESSION_SECRET: "", NODE_ENV: "production" };
  const example = spawnExample(file, env);
  expect((await example.ended).code).not.toBe(0);
  expect(example.output()).toContain("SESSION_SECRET is not set");
});

test("in development a process without a secret warns, and accepts no cookie of another", async () => {
  const starting = [1, 2].map(() =>
    spawnExample("express/server.mjs", { REDIS_URL: redis.url, SESSION_SECRET: "", NODE_ENV: "" }),
  );
  const [a, b] = (await Promise.all(
    starting.map(async (example) => {
      const url = await eventually(() => /listening on (http\S+)/.exec(example.output())?.[1]);
      return { ...example, url };
    }),
  )) as [ExampleProcess, ExampleProcess];
  expect(a.output()).toContain("SESSION_SECRET is not set: using a random secret");
  const visitor = new Visitor();
  await visitor.post(a, "/login", ADA);
  expect((await visitor.get(a, "/me")).status).toBe(200);
  expect((await visitor.get(b, "/me")).status).toBe(401);
});

test.each([...SIGNING])(
  "%s: the cookie is for this site, and the comments name what the reader must add",
  (file) => {
    const folder = new URL(`../../docs/examples/${dirname(file)}/`, import.meta.url);
    const programs = readdirSync(folder).filter((name) => /^(server|main|sessions)\..*[jt]s$/.test(name));
    const text = programs.map((name) => readFileSync(new URL(name, folder), "utf8")).join("\n");
    expect(text).toMatch(/\{ sameSite: "lax", secure: "auto"/);
    expect(text).toMatch(/trust ?proxy/i);
    if (/\bpost\(/i.test(text)) expect(text).toContain("a CSRF token");
    if (text.includes("logout")) expect(text).toContain('clearCookie("');
  },
);

test("behind a proxy that ends TLS, the cookie is Secure", async () => {
  const app = await startExample("graceful-shutdown/server.mjs", redis.url);
  const cookieOver = async (protocol: string) => {
    const response = await fetch(app.url, { headers: { "x-forwarded-proto": protocol } });
    return response.headers.getSetCookie()[0];
  };
  expect(await cookieOver("https")).toContain("; Secure");
  expect(await cookieOver("http")).not.toContain("; Secure");
});

test.each([
  ["Express", "express/server.mjs"],
  ["TypeScript", "typescript/server.ts"],
  ["Fastify", "fastify/server.mjs"],
  ["NestJS", "nestjs/main.ts"],
  ["account", "account/server.mjs"],
  ["Socket.IO", "socket.io/server.mjs"],
])("%s: only a name that is a string, and not empty, is logged in", async (_name, file) => {
  const app = await startExample(file, redis.url);
  const visitor = new Visitor();
  for (const body of [undefined, {}, { user: "" }, { user: { name: "ada" } }, { user: ["ada", "bob"] }]) {
    expect(await visitor.post(app, "/login", body)).toMatchObject({ status: 400 });
  }
  expect(visitor.cookie).toBe("");
  if (file.startsWith("account")) {
    expect((await visitor.post(app, "/login", { user: "a".repeat(65) })).status).toBe(400);
  }
});

test("Passport lets nobody in with a wrong password", async () => {
  const app = await startExample("passport/server.mjs", redis.url);
  const visitor = new Visitor();
  expect((await visitor.post(app, "/login", { ...ADA, password: "byron" })).status).toBe(401);
  expect((await visitor.get(app, "/me")).status).toBe(401);
});

test("Passport: log out everywhere", async () => {
  const [a, b] = (await startTwo("passport/server.mjs")) as [ExampleProcess, ExampleProcess];
  const [phone, laptop] = [new Visitor(), new Visitor()];
  await phone.post(a, "/login", ADA);
  await laptop.post(b, "/login", ADA);
  expect((await phone.get(b, "/me")).status).toBe(200);
  const { cookie } = phone;
  expect(await laptop.post(b, "/log-out-everywhere")).toEqual({ status: 200, body: { ended: 2 } });
  for (const app of [a, b]) {
    await eventually(async () => {
      phone.cookie = cookie;
      return (await phone.get(app, "/me")).status === 401;
    });
  }
});

test("account: one device is logged out by its public id, and a fourth login ends the oldest", async () => {
  const [a, b] = (await startTwo("account/server.mjs")) as [ExampleProcess, ExampleProcess];
  const visitors = [new Visitor(), new Visitor(), new Visitor(), new Visitor()];
  const ended: unknown[] = [];
  for (const [i, visitor] of visitors.entries()) {
    ended.push((await visitor.post(i % 2 === 0 ? a : b, "/login", { user: "carol" })).body);
  }
  expect(ended.map((body) => (body as { ended: number }).ended)).toEqual([0, 0, 0, 1]);
  const [oldest, second, , newest] = visitors as [Visitor, Visitor, Visitor, Visitor];
  await eventually(async () => (await oldest.get(a, "/account/devices")).status === 401);
  const { devices } = (await newest.get(b, "/account/devices")).body as {
    devices: { id: string; since: string }[];
  };
  expect(devices).toHaveLength(3);
  for (const { id, since } of devices) {
    expect(id).toMatch(/^[0-9a-f]{16}$/);
    expect(Date.now() - Date.parse(since)).toBeLessThan(600_000);
  }
  const { id } = devices[2] as { id: string };
  const stranger = new Visitor();
  await stranger.post(a, "/login", { user: "dan" });
  expect(await stranger.post(a, "/account/log-out-device", { id })).toEqual({
    status: 404,
    body: { ended: 0 },
  });
  expect(await newest.post(a, "/account/log-out-device", { id })).toEqual({
    status: 200,
    body: { ended: 1 },
  });
  for (const app of [a, b])
    await eventually(async () => (await second.get(app, "/account/devices")).status === 401);
  expect((await newest.get(b, "/account/devices")).body).toMatchObject({ devices: [{}, {}] });
});

test("account: devices are listed without their ids, and the others are logged out on every process", async () => {
  const [a, b] = (await startTwo("account/server.mjs")) as [ExampleProcess, ExampleProcess];
  const [phone, laptop, stranger] = [new Visitor(), new Visitor(), new Visitor()];
  await phone.post(a, "/login", { user: "ada" });
  await laptop.post(b, "/login", { user: "ada" });
  await stranger.post(b, "/login", { user: "bob" });
  const { devices } = (await phone.get(b, "/account/devices")).body as { devices: { isThis: boolean }[] };
  expect(devices.map(({ isThis }) => isThis)).toEqual([false, true]);
  for (const { cookie } of [phone, laptop]) {
    const [, sid = ""] = /s%3A([^.]+)\./.exec(cookie) ?? [];
    expect(sid).not.toBe("");
    expect(JSON.stringify(devices)).not.toContain(sid);
  }

  const { cookie } = laptop;
  expect((await phone.post(a, "/account/log-out-others")).body).toEqual({ ended: 1 });
  for (const app of [a, b]) {
    await eventually(async () => {
      laptop.cookie = cookie;
      return (await laptop.get(app, "/account/devices")).status === 401;
    });
    expect((await phone.get(app, "/account/devices")).status).toBe(200);
    expect((await stranger.get(app, "/account/devices")).status).toBe(200);
  }
  expect((await phone.post(b, "/account/log-out-everywhere")).body).toEqual({ ended: 1 });
});

test.each([
  ["Fastify", "fastify/server.mjs", { code: 0, signal: null }],
  // Nest sends itself the signal again when all is closed.
  ["NestJS", "nestjs/main.ts", { code: null, signal: "SIGTERM" }],
])("%s closes the store and ends by itself on SIGTERM", async (_name, file, how) => {
  // On a busy machine, one that its store is not live yet.
  vi.stubEnv("NODE_NO_WARNINGS", "1");
  onTestFinished(() => void vi.unstubAllEnvs());
  const app = await startExample(file, redis.url);
  await new Visitor().post(app, "/login", ADA);
  app.child.kill("SIGTERM");
  expect(await app.ended).toEqual(how);
  expect(app.output().split("\n").filter(Boolean)).toEqual([expect.stringContaining("listening"), "stopped"]);
});

function connect(to: ExampleProcess, { cookie }: Visitor): Socket {
  const socket = io(to.url, { extraHeaders: { cookie }, reconnection: false, forceNew: true });
  onTestFinished(() => {
    socket.disconnect();
  });
  return socket;
}

/** Resolves with the reason when all sockets have been disconnected. */
function disconnected(sockets: readonly Socket[]): Promise<unknown[]> {
  return Promise.all(sockets.map((socket) => new Promise((resolve) => socket.on("disconnect", resolve))));
}

test("Socket.IO: sockets on two processes share the session, and are closed when it ends on either", async () => {
  const [a, b] = (await startTwo("socket.io/server.mjs")) as [ExampleProcess, ExampleProcess];
  const visitor = new Visitor();
  const stranger = connect(a, visitor);
  const [refusal] = await new Promise<[Error]>((resolve) => {
    stranger.on("connect_error", (error) => resolve([error]));
  });
  expect(refusal.message).toBe("not logged in");

  await visitor.post(a, "/login", ADA);
  const sockets = [connect(a, visitor), connect(b, visitor)] as const;
  await Promise.all(sockets.map((socket) => eventually(() => socket.connected)));
  expect(await sockets[0].emitWithAck("visit")).toEqual({ visits: 1 });
  await eventually(async () => {
    const { visits } = await sockets[1].emitWithAck("visit");
    return visits > 1;
  });

  const gone = disconnected(sockets);
  expect((await visitor.post(a, "/logout")).status).toBe(200);
  expect(await gone).toEqual(["io server disconnect", "io server disconnect"]);
});

test("Socket.IO: sockets of sessions that ended while no process was subscribed are closed, and only those", async () => {
  const [a, b] = (await startTwo("socket.io/server.mjs")) as [ExampleProcess, ExampleProcess];
  const [ada, bob] = [new Visitor(), new Visitor()];
  await ada.post(a, "/login", ADA);
  await bob.post(b, "/login", { user: "bob" });
  const ended = [connect(a, ada), connect(b, ada)] as const;
  const living = connect(b, bob);
  await Promise.all([...ended, living].map((socket) => eventually(() => socket.connected)));
  const gone = disconnected(ended);

  const [, sid = ""] = /s%3A([^.]+)\./.exec(ada.cookie) ?? [];
  const admin = await createClient({ url: redis.url }).connect();
  onTestFinished(() => admin.destroy());
  // No subscriber is there to receive the message of a deletion: so none is sent.
  const [, deleted] = await admin
    .multi()
    .addCommand(["CLIENT", "KILL", "TYPE", "PUBSUB"])
    .del(`sess:${sid}`)
    .exec();
  expect(Number(deleted)).toBe(1);
  expect(await gone).toEqual(["io server disconnect", "io server disconnect"]);
  expect(living.connected).toBe(true);
  expect(await living.emitWithAck("visit")).toEqual({ visits: 1 });
});

test("OpenTelemetry: trips to Redis are spans within their request, and tell no session id", async () => {
  const app = await startExample("opentelemetry/server.mjs", redis.url);
  const visitor = new Visitor();
  await visitor.get(app, "/");
  expect((await visitor.get(app, "/")).body).toEqual({ views: 2 });
  const spans = () =>
    app
      .output()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map(
        (line) => JSON.parse(line) as { name: string; parent?: string; attributes: Record<string, unknown> },
      );
  await eventually(() => spans().filter(({ name }) => name === "GET /").length === 2);
  await eventually(() => spans().filter(({ name }) => name === "session set").length === 2);
  for (const { name, parent, attributes } of spans()) {
    if (name === "GET /") continue;
    expect(parent).toMatch(/^[0-9a-f]{16}$/);
    expect(attributes).toMatchObject({
      "clustered_redis_store.operation": name.replace("session ", ""),
      "clustered_redis_store.session_hash": expect.stringMatching(/^[0-9a-f]{16}$/),
      "clustered_redis_store.found": true,
    });
  }
  const [, sid = ""] = /s%3A([^.]+)\./.exec(visitor.cookie) ?? [];
  expect(sid).not.toBe("");
  expect(app.output()).not.toContain(sid);
});

test("the list of examples names every one", () => {
  const folder = new URL("../../docs/examples/", import.meta.url);
  const listed = readFileSync(new URL("README.md", folder), "utf8");
  const named = [...listed.matchAll(/^\| \[[^\]]+\]\(([^/)]+)/gm)].map(([, name]) => name as string);
  const there = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect([...new Set(named)].sort()).toEqual(there.map(({ name }) => name).sort());
});
