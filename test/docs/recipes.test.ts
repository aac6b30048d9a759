import type { AddressInfo } from "node:net";
import express, { type Express } from "express";
import session, { type SessionData } from "express-session";
import { createClient } from "redis";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { startProxy } from "../support/fault-proxy.ts";
import { type Client, sessionOf, whenLive } from "../support/node.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { pages } from "./markdown.ts";

declare module "express-session" {
  interface SessionData {
    userId?: string;
  }
}

/** Recipes keep to the default prefix, as their readers will: so they get a server of their own. */
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

const page =
  pages().find(({ path }) => path === "docs/guides/lifetimes-and-limits.md") ?? expect.fail("no page");
const recipes = new Map(page.blocks.map(({ flags, code }) => [flags.get("recipe"), code]));
const used = new Set<string>();

interface Kitchen {
  readonly app: Express;
  readonly store: ClusteredRedisStore;
  readonly client: Client;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** Runs the block of a recipe as a part of a program, with two routes more. */
async function cook(name: string): Promise<Kitchen> {
  used.add(name);
  const client = createClient({ url: redis.url }) as unknown as Client;
  client.on("error", () => {});
  await client.connect();
  await client.flushAll();
  const app = express();
  const given = { app, client, session, secret: "secret", ClusteredRedisStore };
  const program = new Function(...Object.keys(given), `{ ${recipes.get(name)}\nreturn store; }`);
  const store = program(...Object.values(given)) as ClusteredRedisStore;
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  await whenLive(store);
  app.get("/me", (req, res) => void res.json({ user: req.session.userId ?? null }));
  app.post("/visit", (req, res) => {
    req.session.views = (req.session.views ?? 0) + 1;
    res.json({ views: req.session.views });
  });
  return { app, store, client };
}

/** A browser with a cookie of its own, for an application that listens. */
async function open(app: Express): Promise<() => Visitor> {
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.on("listening", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return () => new Visitor(url);
}

class Visitor {
  readonly #url: string;
  cookie = "";
  setCookie = "";

  constructor(url: string) {
    this.#url = url;
  }

  async send(method: "GET" | "POST", path: string): Promise<{ status: number; body: unknown }> {
    const response = await fetch(this.#url + path, { method, headers: { cookie: this.cookie } });
    [this.setCookie = ""] = response.headers.getSetCookie();
    if (this.setCookie !== "") this.cookie = this.setCookie.split(";")[0] as string;
    const isJson = response.headers.get("content-type")?.includes("json");
    return { status: response.status, body: isJson ? await response.json() : await response.text() };
  }

  /** The id in its cookie. */
  get sid(): string {
    return /s%3A([^.]+)\./.exec(this.cookie)?.[1] ?? "";
  }
}

const withinAMinute = (actual: number, expected: number) => {
  expect(actual).toBeLessThanOrEqual(expected);
  expect(actual).toBeGreaterThan(expected - MINUTE_MS);
};

test("an idle timeout", async () => {
  const { app, client } = await cook("idle");
  const visitor = (await open(app))();
  await visitor.send("POST", "/visit");
  withinAMinute(await client.pTTL(`sess:${visitor.sid}`), 30 * MINUTE_MS);
  // As if 20 minutes had passed; the store knows nothing of it.
  await client.pExpire(`sess:${visitor.sid}`, 10 * MINUTE_MS);
  await visitor.send("POST", "/visit");
  withinAMinute(await client.pTTL(`sess:${visitor.sid}`), 30 * MINUTE_MS);
  await visitor.send("GET", "/me");
  expect(visitor.setCookie).toContain("Expires=");
});

test("an absolute timeout", async () => {
  const { app, client, store } = await cook("absolute");
  const visitor = (await open(app))();
  await visitor.send("POST", "/login");
  const key = `sess:${visitor.sid}`;
  withinAMinute(await client.pTTL(key), 30 * MINUTE_MS);
  const loggedIn = async (agoMs: number) => {
    const loggedInAt = Date.now() - agoMs;
    await store.set(visitor.sid, { ...sessionOf({ userId: "42" }, null), loggedInAt } as SessionData);
  };
  await loggedIn(12 * HOUR_MS - 5 * MINUTE_MS);
  withinAMinute(await client.pTTL(key), 5 * MINUTE_MS);
  await visitor.send("POST", "/visit");
  withinAMinute(await client.pTTL(key), 5 * MINUTE_MS);
  expect((await visitor.send("GET", "/me")).body).toEqual({ user: "42" });
  await loggedIn(12 * HOUR_MS + 1);
  expect((await visitor.send("GET", "/me")).body).toEqual({ user: null });
});

test("a short life for visitors who are not logged in", async () => {
  const { client, store } = await cook("anonymous");
  await store.set("visitor", sessionOf({}, null));
  await store.set("user", sessionOf({ userId: "42" }, null));
  withinAMinute(await client.pTTL("sess:visitor"), 10 * MINUTE_MS);
  withinAMinute(await client.pTTL("sess:user"), 30 * 24 * HOUR_MS);
});

test("remember me", async () => {
  const { app, client } = await cook("remember");
  const browser = await open(app);
  const [forgotten, remembered] = [browser(), browser()];
  await forgotten.send("POST", "/login");
  await remembered.send("POST", "/login?remember=yes");
  expect(forgotten.setCookie).not.toContain("Expires=");
  expect(remembered.setCookie).toContain("Expires=");
  withinAMinute(await client.pTTL(`sess:${forgotten.sid}`), 4 * HOUR_MS);
  withinAMinute(await client.pTTL(`sess:${remembered.sid}`), 30 * 24 * HOUR_MS);
});

test("at most three sessions of a user", async () => {
  const { app } = await cook("limit");
  const browser = await open(app);
  const visitors = Array.from({ length: 5 }, browser);
  const ended: unknown[] = [];
  for (const visitor of visitors) ended.push((await visitor.send("POST", "/login")).body);
  expect(ended).toEqual([0, 0, 0, 1, 1].map((count) => ({ ended: count })));
  const users: unknown[] = [];
  for (const visitor of visitors) users.push((await visitor.send("GET", "/me")).body);
  expect(users).toEqual([null, null, "42", "42", "42"].map((user) => ({ user })));
});

test("after a change of the password", async () => {
  const { app, store } = await cook("password");
  app.post("/login", (req, res) => {
    req.session.userId = "42";
    res.json({});
  });
  const browser = await open(app);
  const [mine, thief, other] = [browser(), browser(), browser()];
  await mine.send("POST", "/login");
  thief.cookie = mine.cookie;
  await other.send("POST", "/login");
  expect(await mine.send("POST", "/password")).toEqual({ status: 200, body: { ended: 1 } });
  expect((await mine.send("GET", "/me")).body).toEqual({ user: "42" });
  for (const visitor of [thief, other])
    expect((await visitor.send("GET", "/me")).body).toEqual({ user: null });
  expect(await store.countOf("42")).toBe(1);
  expect((await browser().send("POST", "/password")).status).toBe(401);
});

test("a fresh read before a payment", async () => {
  const { app, client, store } = await cook("payment");
  app.post("/login", (req, res) => {
    req.session.userId = "42";
    res.json({});
  });
  const visitor = (await open(app))();
  await visitor.send("POST", "/login");
  expect((await visitor.send("GET", "/me")).body).toEqual({ user: "42" });
  // A change without a message, as if it were still on its way.
  await eventually(() => store.clusterStats.messagesReceived > 0);
  await visitor.send("GET", "/me");
  const text = String(await client.get(`sess:${visitor.sid}`));
  await client.set(`sess:${visitor.sid}`, text.replace('"42"', '"43"'));
  expect((await visitor.send("GET", "/me")).body).toEqual({ user: "42" });
  expect((await visitor.send("POST", "/pay")).body).toEqual({ paidBy: "43" });
  await client.del(`sess:${visitor.sid}`);
  expect((await visitor.send("POST", "/pay")).status).toBe(500);
});

test("ended everywhere before I respond", async () => {
  const { app } = await cook("everywhere");
  const proxy = await startProxy(redis.url);
  const client = createClient({ url: redis.url });
  client.on("error", () => {});
  await client.connect();
  const subscriber = createClient({ url: proxy.url });
  const silent = new ClusteredRedisStore({ client, cluster: { subscriber } });
  onTestFinished(async () => {
    proxy.pass();
    await silent.close();
    client.destroy();
    await proxy.close();
  });
  await whenLive(silent);
  await silent.set("s", sessionOf({ userId: "42" }));
  app.post("/login", (req, res) => {
    req.session.userId = "42";
    res.json({});
  });
  const visitor = (await open(app))();
  await visitor.send("POST", "/login");
  expect(await silent.get(visitor.sid)).toMatchObject({ userId: "42" });
  // From now on it receives nothing, and does not know it yet.
  proxy.hold("toClient");
  expect((await visitor.send("POST", "/ban/42")).status).toBe(200);
  expect(await silent.get(visitor.sid)).toBeNull();
});

test("every recipe of the page was run", () => {
  recipes.delete(undefined);
  expect([...used].sort()).toEqual([...recipes.keys()].sort());
});
