import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  newSpace,
  ownRedis,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";
import { surviveFullMemory } from "../topologies/full-memory.ts";

test("subscriber lost: every read is answered from Redis until it is live again", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.set("s", sessionOf({ v: 0 }));
  const suspect = nextEvent(a.store, "suspect");
  a.bus.refuse();
  await suspect;
  for (let v = 1; v <= 5; v++) {
    await b.store.set("s", sessionOf({ v }));
    expect(valuesOf(await a.store.get("s"))).toEqual({ v });
  }
  expect(await a.store.isHealthy()).toBe(false);
  expect(await a.store.health()).toMatchObject({
    redis: true,
    subscribed: false,
    leaseAgeMs: null,
    cacheSize: 0,
  });
});

test("Redis is full: what takes memory fails and says why; reads, touches and logouts continue", async () => {
  const redis = await ownRedis();
  const space = newSpace();
  const [a, b] = [await startNode(space, { url: redis.url }), await startNode(space, { url: redis.url })];
  const direct = await directClient({ url: redis.url });
  await surviveFullMemory(a.store, b.store, () => direct.configSet("maxmemory", "1"));
});

test("Redis killed: requests get errors, and after its restart the store recovers by itself", async () => {
  const redis = await ownRedis();
  const space = newSpace();
  const { store } = await startNode(space, {
    url: redis.url,
    cluster: SHORT_LEASE,
    store: { commandTimeoutMs: 1_000 },
  });
  await store.set("s", sessionOf({ v: 1 }));
  const suspect = nextEvent(store, "suspect");
  await redis.kill();
  await suspect;
  const failure = {
    name: "SessionStoreError",
    code: expect.stringMatching(/^ERR_SESSION_(TIMEOUT|REDIS|UNAVAILABLE)$/),
  };
  await expect(store.get("s")).rejects.toMatchObject(failure);
  await expect(store.set("s", sessionOf())).rejects.toMatchObject(failure);
  await expect(store.destroy("s")).rejects.toMatchObject(failure);
  expect(await store.health()).toMatchObject({ redis: false, subscribed: false });
  const live = nextEvent(store, "live");
  await redis.restart();
  await live;
  // It restarted empty, and the session that was in memory is gone with it.
  expect(await store.get("s")).toBeNull();
  await store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
  await eventually(() => store.isHealthy());
});

test("Redis stalled: errors in time, a failed touch is only an event, and afterwards all operations succeed", async () => {
  const redis = await ownRedis();
  const { store } = await startNode(newSpace(), {
    url: redis.url,
    cluster: SHORT_LEASE,
    store: { commandTimeoutMs: 1_000, touchAfterMs: 0 },
  });
  await store.set("s", sessionOf({ v: 1 }));
  store.evictFromCache("s");
  const suspect = nextEvent(store, "suspect");
  await redis.pause();
  const touch = new Promise((resolve) => store.touch("t", sessionOf(), resolve));
  const calls = [store.get("s"), store.set("s", sessionOf()), store.destroy("s"), store.length()];
  for (const call of calls) await expect(call).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  await suspect;
  const touched = await touch;
  expect(touched).toBeNull();
  expect(store.clusterStats.failedTouches).toBe(1);
  expect(await store.isHealthy()).toBe(false);
  const live = nextEvent(store, "live");
  await redis.resume();
  await live;
  await store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
});

test("while the client is away, nothing that timed out reaches Redis later", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store, data, client } = await startNode(space, { store: { commandTimeoutMs: 1_000 } });
  await store.set("s", sessionOf({ v: 1 }));
  data.refuse();
  await eventually(() => !client.isReady);
  await expect(store.set("s", sessionOf({ v: 2 }))).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  data.accept();
  await eventually(() => client.isReady);
  // Through the same connection, so behind anything that had been queued.
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  expect(JSON.parse(String(await direct.get(`${space.prefix}s`)))).toMatchObject({ v: 1 });
});

test("operations wait for a client that reconnects soon", async () => {
  const { store, data, client } = await startNode(newSpace());
  data.refuse();
  await eventually(() => !client.isReady);
  const writing = store.set("s", sessionOf({ v: 1 }));
  const reading = store.get("s");
  data.accept();
  await writing;
  expect([null, { v: 1 }]).toContainEqual(valuesOf(await reading));
});

test("a client that was closed is an error that says so", async () => {
  const { store, client } = await startNode(newSpace());
  client.destroy();
  store.evictFromCache("s");
  await expect(store.get("s")).rejects.toThrow(/GETRANGE: .*closed/i);
});

test("ENOENT, a missing Redis socket, does not reach express-session, which would log everybody out", async () => {
  const client = createClient({
    socket: { path: join(tmpdir(), "no-redis-here.sock"), reconnectStrategy: () => 20 },
    disableOfflineQueue: true,
  });
  const codes: unknown[] = [];
  client.on("error", (error: NodeJS.ErrnoException) => codes.push(error.code));
  client.connect().catch(() => {});
  const store = new ClusteredRedisStore({ client, commandTimeoutMs: 300 });
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  await eventually(() => codes.includes("ENOENT"));
  const error = await new Promise<unknown>((resolve) => store.get("s", resolve));
  expect(error).toMatchObject({ name: "SessionStoreError" });
  expect(String((error as { code?: unknown }).code)).toMatch(/^ERR_SESSION_/);
});

test("nor does an ENOENT of the serializer", async () => {
  const serializer = {
    stringify: JSON.stringify,
    parse: () => {
      throw Object.assign(new Error("no key file"), { code: "ENOENT" });
    },
  };
  const { store } = await startNode(newSpace(), { store: { serializer } });
  await store.set("s", sessionOf());
  // Once from memory, where it was never parsed, and once from Redis.
  for (let i = 0; i < 2; i++) {
    await expect(store.get("s")).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" });
    store.evictFromCache("s");
  }
});

test("a value that cannot be parsed: that request gets an error naming the key, and the value stays", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await direct.set(`${space.prefix}bad`, "{oops");
  await store.set("good", sessionOf({ v: 1 }));
  await expect(store.get("bad")).rejects.toMatchObject({
    code: "ERR_SESSION_CORRUPT",
    key: `${space.prefix}bad`,
  });
  expect(store.localCache.peek("bad")).toBeUndefined();
  expect(valuesOf(await store.get("good"))).toEqual({ v: 1 });
  const told = nextEvent(store, "clusterError");
  expect((await store.all()).map(({ id }) => id)).toEqual(["good"]);
  expect(await told).toMatchObject([{ code: "ERR_SESSION_CORRUPT" }]);
  expect(await direct.get(`${space.prefix}bad`)).toBe("{oops");
  expect((await store.ids()).sort()).toEqual(["bad", "good"]);
});

test("a session that cannot be made into a string is an error, and nothing is written", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  await expect(store.set("s", sessionOf(circular))).rejects.toMatchObject({ code: "ERR_SESSION_SERIALIZE" });
  await expect(store.set("s", sessionOf({ big: 1n }))).rejects.toMatchObject({
    code: "ERR_SESSION_SERIALIZE",
  });
  expect(await direct.exists(`${space.prefix}s`)).toBe(0);
});

test("a session without a cookie is stored for the default ttl and returned as it is", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { ttl: 100 } });
  const bare = { user: "somebody" } as unknown as ReturnType<typeof sessionOf>;
  await store.set("s", bare);
  expect(await store.get("s")).toEqual(bare);
  store.evictFromCache("s");
  expect(await store.get("s")).toEqual(bare);
  expect(await direct.ttl(`${space.prefix}s`)).toBeGreaterThan(90);
});

test("wrong arguments get an error that names what, got and expected", async () => {
  const { store } = await startNode(newSpace());
  const sid = 5 as unknown as string;
  await expect(store.get(sid)).rejects.toThrow("sid: expected a string of 1 to 1024 characters, got 5");
  for (const none of [5, null, undefined]) {
    expect(() => store.evictFromCache(none as unknown as string)).toThrow(
      `sid: expected a string of 1 to 1024 characters, got ${none}`,
    );
  }
  // Also if there is no session that it would be called with.
  await expect(store.destroyWhere({ user: "ann" } as never)).rejects.toThrow(
    "predicate: expected a function of the session and its id, got an object (Object)",
  );
  await expect(store.destroy("")).rejects.toThrow('sid: expected a string of 1 to 1024 characters, got ""');
  const session = null as unknown as ReturnType<typeof sessionOf>;
  await expect(store.set("s", session)).rejects.toThrow("session: expected an object, got null");
  await expect(store.touch("s", session)).rejects.toThrow("session: expected an object, got null");
  await expect(store.set("s", store.get("s") as never)).rejects.toThrow(
    "session: expected an object, got an object (Promise): did you forget await?",
  );
});

test("a ttl function that returns no number is an error, and the session stays", async () => {
  const space = newSpace();
  const { store } = await startNode(space, {
    store: { ttl: (session) => ("nan" in session ? Number.NaN : 60) },
  });
  await store.set("s", sessionOf({ v: 1 }));
  await expect(store.set("s", sessionOf({ nan: true }))).rejects.toThrow(
    /ttl: the function must return .* got NaN/,
  );
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
});

test("close ends in bounded time though Redis is stalled, and what is under way gets its answer", async () => {
  const redis = await ownRedis();
  const { store } = await startNode(newSpace(), { url: redis.url, store: { commandTimeoutMs: 1_000 } });
  await redis.pause();
  const outcome = store.get("s").then(
    () => "answered",
    (error: { code: string }) => error.code,
  );
  await store.close();
  expect(await outcome).toBe("ERR_SESSION_TIMEOUT");
  await redis.resume();
});

test("after close the store answers from Redis, with nothing in memory, and is not subscribed any more", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.set("s", sessionOf({ v: 1 }));
  await a.store.close();
  await a.store.close();
  expect(a.store.localCache.size).toBe(0);
  expect(a.store.clusterStats.state).toBe("off");
  await eventually(() => a.bus.connections === 0);
  await b.store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
  expect(a.store.localCache.size).toBe(0);
  // A request that ends after close still reaches the others.
  await eventually(() => b.store.clusterStats.messagesReceived === 1);
  await cacheIn(b.store, "s");
  await a.store.set("s", sessionOf({ v: 3 }));
  await eventually(() => b.store.clusterStats.messagesReceived === 2);
  expect(valuesOf(await b.store.get("s"))).toEqual({ v: 3 });
  await expect(a.store.ready()).rejects.toMatchObject({ code: "ERR_SUBSCRIPTION" });
});

test("after close a store without cluster, too, caches nothing", async () => {
  const space = newSpace();
  const client = await directClient();
  const store = new ClusteredRedisStore({ client, prefix: space.prefix, cluster: false });
  await store.set("s", sessionOf());
  expect(store.localCache.size).toBe(1);
  await store.close();
  await store.get("s");
  expect(store.localCache.size).toBe(0);
});

test("a store can be created before Redis runs, and is live once it does", async () => {
  const redis = await ownRedis();
  await redis.kill();
  const { store } = await (async () => {
    const client = createClient({ url: redis.url });
    client.on("error", () => {});
    client.connect().catch(() => {});
    const store = new ClusteredRedisStore({
      client,
      cluster: { ...SHORT_LEASE, channel: newSpace().channel },
      commandTimeoutMs: 300,
    });
    onTestFinished(async () => {
      await store.close();
      client.destroy();
    });
    return { store };
  })();
  await expect(store.ready()).rejects.toMatchObject({ code: "ERR_SUBSCRIPTION" });
  const live = nextEvent(store, "live");
  await redis.restart();
  await live;
});
