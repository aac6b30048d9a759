import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  LONG_LEASE,
  type Node,
  newSpace,
  ownRedis,
  refusalWhenReady,
  SHORT_LEASE,
  type Space,
  sessionOf,
  setAndReceive,
  startNode,
  valuesOf,
} from "../support/node.ts";
import { catchProcessEvents } from "../support/process-events.ts";

/** How many connections are subscribed to a session. */
async function subscribersOf({ store }: Node, sid: string): Promise<number> {
  const channel = String(store.coordinator?.sessions.channelOf(sid));
  const direct = await directClient();
  return (await direct.pubSubNumSub(channel))[channel] ?? 0;
}

/** The commands on subscribers' connections that concern a space, with the connection of each. */
async function watchConnections(space: Space): Promise<{ from: string; command: string }[]> {
  const monitor = await directClient();
  const seen: { from: string; command: string }[] = [];
  await monitor.monitor((line) => {
    const [, from, command] = /\[\d+ (\S+)\] "([^"]+)"/.exec(String(line)) ?? [];
    const isOurs = String(line).includes(space.prefix) || String(line).includes(space.channel);
    if (from && command && isOurs && from !== "lua") seen.push({ from, command: command.toUpperCase() });
  });
  return seen;
}

test("a write is published on the session's own channel, in a text that names no session", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  const listener = await directClient();
  const published: { text: string; channel: string }[] = [];
  await listener.pSubscribe(`${space.channel}*`, (text, channel) => {
    if (!channel.endsWith(String(store.coordinator?.instanceId))) published.push({ text, channel });
  });
  const sid = "a-secret-session-id";
  await store.set(sid, sessionOf({ v: 1 }));
  await eventually(() => published.length === 1);
  expect(published[0]?.channel).toMatch(new RegExp(`^${space.channel}:[\\w-]{22}$`));
  expect(JSON.stringify(published)).not.toContain(sid);
  expect(JSON.stringify(published)).not.toContain(space.prefix);
});

test("a process receives what concerns the sessions that it caches, and every deletion", async () => {
  const space = newSpace();
  const [a, b] = [await startNode(space), await startNode(space)];
  await a.store.set("cached", sessionOf({ v: 1 }));
  await cacheIn(b.store, "cached");
  for (let v = 2; v <= 6; v++) await a.store.set("other", sessionOf({ v }));
  await a.store.set("cached", sessionOf({ v: 2 }));
  await eventually(() => b.store.clusterStats.invalidations === 1);
  expect(b.store.clusterStats.messagesReceived).toBe(1);
  const destroyed = nextEvent(b.store, "destroyed");
  await a.store.destroy("other");
  await destroyed;
  expect(b.store.clusterStats.messagesReceived).toBe(2);
});

for (const RESP of [2, 3] as const) {
  test(`with a client that speaks RESP ${RESP}, a miss subscribes and reads in one round trip`, async () => {
    const space = newSpace();
    const { store } = await startNode(space, { client: { RESP: RESP as 3 } });
    const direct = await directClient();
    await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
    const seen = await watchConnections(space);
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    await eventually(() => seen.some(({ command }) => command === "PTTL"));
    const { from } = seen.find(({ command }) => command === "SUBSCRIBE") ?? {};
    const there = seen.filter((each) => each.from === from).map(({ command }) => command);
    expect(there).toEqual(["SUBSCRIBE", "GETRANGE", "PTTL"]);
    expect(seen.filter(({ command }) => command === "GETRANGE")).toHaveLength(1);
    expect(store.localCache.size).toBe(1);
  });
}

test("with a client that connects long after the subscriber, too", async () => {
  const space = newSpace();
  const client = createClient({ url: inject("redisUrl") });
  const store = new ClusteredRedisStore({
    client,
    prefix: space.prefix,
    cluster: { channel: space.channel, ...LONG_LEASE },
  });
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  // The first heartbeat: the subscription is open.
  await nextEvent(store, "clusterError");
  await client.connect();
  await store.ready();
  const direct = await directClient();
  await eventually(async () => {
    const seen = await watchConnections(space);
    const sid = randomUUID();
    await direct.set(space.prefix + sid, JSON.stringify(sessionOf()));
    await store.get(sid);
    await eventually(() => seen.some(({ command }) => command === "PTTL"));
    const fromOf = (name: string) => seen.find(({ command }) => command === name)?.from;
    return fromOf("GETRANGE") === fromOf("SUBSCRIBE");
  });
});

/** Subscribers on which sessions cannot be read, or not those that the client reads. */
const others: Record<string, object> = {
  "speaks RESP 2": { RESP: 2 },
  "has another database": { database: 7 },
  "has a keyPrefix": { keyPrefix: "other:" },
};

for (const [which, options] of Object.entries(others)) {
  test(`with a subscriber that ${which}, a miss is read by the client, and cached`, async () => {
    const space = newSpace();
    const subscriber = () =>
      createClient({ url: inject("redisUrl"), ...options, socket: { reconnectStrategy: false } });
    const a = await startNode(space, { cluster: { subscriber } });
    const b = await startNode(space);
    await b.store.set("s", sessionOf({ v: 1 }));
    expect(valuesOf(await a.store.get("s"))).toEqual({ v: 1 });
    await cacheIn(a.store, "s");
    const invalidated = nextEvent(a.store, "invalidate");
    await b.store.set("s", sessionOf({ v: 2 }));
    await invalidated;
    expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
  });
}

test("a value that is too long for the subscriber's connection is read by the client, and cached", async () => {
  const space = newSpace();
  const [a, b] = [await startNode(space), await startNode(space)];
  for (const text of ["x".repeat(100_000), "ü".repeat(16_200), "€".repeat(5_400)]) {
    await b.store.set("s", sessionOf({ text }));
    await eventually(async () => valuesOf(await a.store.get("s"))?.["text"] === text);
    expect(valuesOf(await a.store.get("s"))).toEqual({ text });
    await eventually(() => a.store.localCache.size === 1);
  }
});

test("sessions that have left the cache are unsubscribed from, and subscribed to again when they are read", async () => {
  const space = newSpace();
  const [a, b] = [await startNode(space), await startNode(space)];
  await b.store.set("s", sessionOf({ v: 1 }));
  for (const { store } of [a, b]) await cacheIn(store, "s");
  expect(await subscribersOf(a, "s")).toBe(2);
  a.store.evictFromCache("s");
  await eventually(async () => (await subscribersOf(a, "s")) === 1);
  expect(a.store.clusterStats.subscriptions).toBe(0);
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 1 });
  await cacheIn(a.store, "s");
  const invalidated = nextEvent(a.store, "invalidate");
  await b.store.set("s", sessionOf({ v: 2 }));
  await invalidated;
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
});

test("a session that is read in the very turn in which it is unsubscribed from is subscribed afterwards", async () => {
  const space = newSpace();
  const [a, b] = [await startNode(space, { cluster: { heartbeatMs: 60_000 } }), await startNode(space)];
  await b.store.set("s", sessionOf({ v: 0 }));
  for (let v = 1; v <= 50; v++) {
    await a.store.get("s");
    a.store.evictFromCache("s");
    a.store.coordinator?.sessions.sweep();
    await cacheIn(a.store, "s");
    const invalidated = nextEvent(a.store, "invalidate");
    await b.store.set("s", sessionOf({ v }));
    await invalidated;
    expect(valuesOf(await a.store.get("s"))).toEqual({ v });
  }
});

test("a flood of sessions that are read once leaves about as many subscriptions as cached sessions", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: { localCache: { maxSize: 20 } } });
  const direct = await directClient();
  const sids = Array.from({ length: 4_000 }, (_, i) => `s${i}`);
  const text = JSON.stringify(sessionOf());
  await direct.mSet(sids.map((sid): [string, string] => [space.prefix + sid, text]));
  let most = 0;
  for (let i = 0; i < sids.length; i += 100) {
    await Promise.all(sids.slice(i, i + 100).map((sid) => store.get(sid)));
    most = Math.max(most, store.clusterStats.subscriptions);
  }
  expect(most).toBeLessThanOrEqual(1_040);
  expect(store.localCache.size).toBe(20);
  await eventually(() => store.clusterStats.subscriptions === 20);
  const [subscribed] = store.coordinator?.sessions.listeners ?? [];
  expect(sids.filter((sid) => subscribed?.sessions?.channelOf(sid) !== undefined)).toHaveLength(20);
});

describe("while the subscriber's connection", () => {
  test("is lost, a read is repeated on the client", async () => {
    const space = newSpace();
    const { store, bus } = await startNode(space);
    const direct = await directClient();
    await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
    bus.hold("toClient");
    const replied = bus.seen("toClient", '"v":1');
    const reading = store.get("s");
    await replied;
    bus.refuse();
    expect(valuesOf(await reading)).toEqual({ v: 1 });
    expect(store.localCache.size).toBe(0);
  });

  test("throws when it is to read, the client reads, and nothing is cached, nor an uncaught exception", async () => {
    const space = newSpace();
    let subscriber: ReturnType<typeof createClient> | undefined;
    const createSubscriber = () => {
      subscriber = createClient({ url: inject("redisUrl"), socket: { reconnectStrategy: false } });
      return subscriber;
    };
    const { store } = await startNode(space, { cluster: { subscriber: createSubscriber } });
    const direct = await directClient();
    await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
    const uncaught = catchProcessEvents("uncaughtException");
    const failure = () => {
      throw new Error("no batch");
    };
    Object.assign(subscriber as object, { multi: failure });
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    expect(uncaught).toEqual([]);
    expect(store.localCache.size).toBe(0);
  });

  test("is silent, nothing waits for it for long, and nothing is cached", async () => {
    const space = newSpace();
    const { store, bus } = await startNode(space, { store: { commandTimeoutMs: 2_000 } });
    const direct = await directClient();
    await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
    bus.swallow("toClient");
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    await store.set("t", sessionOf({ v: 2 }));
    expect(valuesOf(await store.get("t"))).toEqual({ v: 2 });
    expect(store.localCache.size).toBe(0);
  });

  test("is late, reads use it again once it answers", async () => {
    const space = newSpace();
    const { store, bus } = await startNode(space, { store: { commandTimeoutMs: 2_000 } });
    await setAndReceive(store, "s", sessionOf({ v: 1 }));
    store.evictFromCache("s");
    bus.hold("toClient");
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    bus.release("toClient");
    await cacheIn(store, "s");
  });
});

test("without the permission to unsubscribe, ready() says so", async () => {
  const redis = await ownRedis();
  const direct = await directClient({ url: redis.url });
  const space = newSpace();
  const user = `user-${randomUUID()}`;
  await direct.sendCommand(["ACL", "SETUSER", user, "on", ">secret", "+@all", "-unsubscribe", "~*", "&*"]);
  const url = new URL(redis.url);
  Object.assign(url, { username: user, password: "secret" });
  const { store } = await startNode(space, {
    url: url.href,
    live: false,
    cluster: { ...SHORT_LEASE, subscribeTimeoutMs: 1_000 },
  });
  await refusalWhenReady(store, /NOPERM.*\(needed: \+subscribe &\S+ \+unsubscribe\)/);
});

test("without the permission to ask for the database, misses are read by the client", async () => {
  const space = newSpace();
  const direct = await directClient();
  const user = `user-${randomUUID()}`;
  await direct.sendCommand(["ACL", "SETUSER", user, "on", ">secret", "+@all", "-client|info", "~*", "&*"]);
  onTestFinished(async () => {
    await (await directClient()).sendCommand(["ACL", "DELUSER", user]);
  });
  const url = new URL(inject("redisUrl"));
  Object.assign(url, { username: user, password: "secret" });
  const { store } = await startNode(space, { url: url.href });
  await setAndReceive(store, "s", sessionOf({ v: 1 }));
  store.evictFromCache("s");
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  await cacheIn(store, "s");
});
