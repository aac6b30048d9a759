import { expect, test, vi } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  cacheIn,
  loadAsRequest,
  type Node,
  type NodeOptions,
  newSpace,
  ownRedis,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";
import { catchProcessEvents } from "../support/process-events.ts";

const UNAVAILABLE = { name: "SessionStoreError", code: "ERR_SESSION_UNAVAILABLE" };
/** Long enough that a Redis on a busy machine does not count as away once it answers again. */
const TIMEOUT_MS = 1_000;
const HOUR_MS = 3_600_000;

/** A node that serves stale sessions, and a Redis of its own. */
async function startStale(
  options: NodeOptions = {},
  staleIfErrorMs = HOUR_MS,
): Promise<Node & { redis: Awaited<ReturnType<typeof ownRedis>> }> {
  const redis = await ownRedis();
  const node = await startNode(newSpace(), {
    url: redis.url,
    cluster: SHORT_LEASE,
    ...options,
    store: { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs }, ...options.store },
  });
  return { ...node, redis };
}

/** Until the lease lapses, sessions are served because they are verified. */
const isAway = ({ store: { clusterStats } }: Node) =>
  clusterStats.outageMs !== null && clusterStats.state === "suspect";
/** Saves sessions until they are cached: what is not is not served while Redis is away. */
async function save({ store }: Node, sids: readonly string[], values = { v: 1 } as object): Promise<void> {
  for (const sid of sids) {
    await eventually(() => store.set(sid, sessionOf({ ...values })).then(() => true));
    await cacheIn(store, sid);
  }
}
const isLive = ({ store }: Node) => store.clusterStats.state === "live";

for (const how of ["kill", "pause"] as const) {
  test(`${how}: a cached session is served until Redis answers, and then what Redis holds`, async () => {
    const node = await startStale();
    const { store, redis } = node;
    await save(node, ["s", "other"]);
    const stale: string[] = [];
    store.on("stale", (sid) => stale.push(sid));
    await redis[how]();
    await eventually(() => isAway(node));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    expect(stale).toEqual(["s", "s"]);
    expect(store.clusterStats.staleHits).toBe(2);
    expect(await store.health()).toMatchObject({ redis: false, staleHits: 2, subscribed: false });
    await expect(store.get("never cached")).rejects.toMatchObject(UNAVAILABLE);
    // A write is an error, and the session that was served before is served on, since nothing was sent.
    await expect(store.set("s", sessionOf({ v: 2 }))).rejects.toMatchObject(UNAVAILABLE);
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    if (how === "kill") await redis.restart();
    else await redis.resume();
    await eventually(() => isLive(node));
    // Killed, it comes back empty.
    expect(valuesOf(await store.get("s"))).toEqual(how === "kill" ? null : { v: 1 });
    expect(store.clusterStats.staleHits).toBe(3);
  });
}

test("reads that wait for Redis are answered when the outage becomes known", async () => {
  const node = await startStale({
    store: { commandTimeoutMs: 60_000, localCache: { staleIfErrorMs: HOUR_MS } },
  });
  const { store, redis } = node;
  await store.set("s", sessionOf({ v: 1 }, HOUR_MS));
  await cacheIn(store, "s");
  const suspect = nextEvent(store, "suspect");
  await redis.kill();
  await suspect;
  const reading = store.get("s");
  // The state has one owner; the clock of a minute is not waited for.
  const { outage } = (store as unknown as { parts: { operations: { outage: { isKnown: boolean } } } }).parts
    .operations;
  expect(outage.isKnown).toBe(false);
  const soon = performance.now() + 61_000;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => soon);
  try {
    expect(valuesOf(await reading)).toEqual({ v: 1 });
  } finally {
    clock.mockRestore();
  }
});

test("the page of a stale session: its touch is skipped and reported, its save is an error at once", async () => {
  const node = await startStale({
    store: { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs: HOUR_MS }, touchAfterMs: 0 },
  });
  const { store, redis } = node;
  await save(node, ["s"]);
  await redis.pause();
  await eventually(() => isAway(node));
  const session = await loadAsRequest(store, "s");
  const reported = nextEvent(store, "clusterError");
  expect(await new Promise((resolve) => store.touch("s", session, resolve))).toBeNull();
  expect(await reported).toMatchObject([UNAVAILABLE]);
  expect(store.clusterStats.failedTouches).toBe(1);
  Object.assign(session, { v: 2 });
  await expect(store.set("s", session)).rejects.toMatchObject(UNAVAILABLE);
  await redis.resume();
  await eventually(() => isLive(node));
  expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 1 });
  await eventually(() => store.set("s", session).then(() => true));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
});

test("a session that was destroyed here is not served, though Redis did not execute that", async () => {
  const node = await startStale();
  const { store, redis } = node;
  await save(node, ["before", "during", "stays"]);
  await redis.pause();
  await expect(store.destroy("before")).rejects.toMatchObject({ name: "SessionStoreError" });
  await eventually(() => isAway(node));
  await expect(store.destroy("during")).rejects.toMatchObject(UNAVAILABLE);
  await expect(store.get("before")).rejects.toMatchObject(UNAVAILABLE);
  await expect(store.get("during")).rejects.toMatchObject(UNAVAILABLE);
  expect(valuesOf(await store.get("stays"))).toEqual({ v: 1 });
});

test("bans apply at once: destroyAllOf to the user's sessions, destroyWhere and clear to all", async () => {
  const indexBy = (session: object) => (session as { user?: string }).user;
  const node = await startStale({
    store: { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs: HOUR_MS }, indexBy },
  });
  const { store, redis } = node;
  await save(node, ["eve1", "eve2"], { user: "eve" });
  await save(node, ["ada"], { user: "ada" });
  await redis.pause();
  // While it is live, too: what is cached then is kept later.
  await expect(store.destroyAllOf("eve", { except: "eve2" })).rejects.toMatchObject({
    name: "SessionStoreError",
  });
  await eventually(() => isAway(node));
  await expect(store.get("eve1")).rejects.toMatchObject(UNAVAILABLE);
  expect(valuesOf(await store.get("eve2"))).toEqual({ user: "eve" });
  expect(valuesOf(await store.get("ada"))).toEqual({ user: "ada" });
  await expect(store.destroyWhere(() => false)).rejects.toMatchObject(UNAVAILABLE);
  await expect(store.get("ada")).rejects.toMatchObject(UNAVAILABLE);
});

test("a ban drops a session that cannot be parsed any more, too, and no rejection is left unhandled", async () => {
  const rejections = catchProcessEvents("unhandledRejection");
  let isBroken = false;
  const parse = async (text: string) => {
    if (isBroken) throw new Error("broken");
    return JSON.parse(text);
  };
  const indexBy = (session: object) => (session as { user?: string }).user;
  const serializer = { parse, stringify: JSON.stringify };
  const node = await startStale({
    store: { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs: HOUR_MS }, indexBy, serializer },
  });
  const { store, redis } = node;
  await save(node, ["eve1"], { user: "eve" });
  await redis.pause();
  await eventually(() => isAway(node));
  isBroken = true;
  await expect(store.destroyAllOf("eve")).rejects.toMatchObject(UNAVAILABLE);
  isBroken = false;
  await expect(store.get("eve1")).rejects.toMatchObject(UNAVAILABLE);
  await new Promise(setImmediate);
  expect(rejections).toEqual([]);
});

test("a device that was ended here is not served, by destroyOf or keepNewest, whether Redis executed that or not", async () => {
  const indexBy = (session: object) => (session as { user?: string }).user;
  const node = await startStale({
    store: { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs: HOUR_MS }, indexBy },
  });
  const { store, redis } = node;
  const publicIdOf = async (sid: string) =>
    (await store.sessionsOf("ada")).find((session) => session.sid === sid)?.publicId as string;
  await save(node, ["1", "2", "3", "4", "5", "6"], { user: "ada" });
  await save(node, ["bob"], { user: "bob" });
  const publicId = await publicIdOf("5");
  // Executed: a stale copy would be the only one.
  expect(await store.destroyOf("ada", await publicIdOf("2"))).toBe(true);
  expect(await store.destroyAllOf("ada", { keepNewest: 3 })).toBe(2);
  for (const sid of ["4", "5", "6"]) expect(valuesOf(await store.get(sid))).toEqual({ user: "ada" });
  await redis.pause();
  // Not executed, and called while the cache is still in use.
  await expect(store.destroyOf("ada", publicId)).rejects.toMatchObject({ name: "SessionStoreError" });
  await eventually(() => isAway(node));
  for (const sid of ["1", "2", "3", "5"]) await expect(store.get(sid)).rejects.toMatchObject(UNAVAILABLE);
  for (const sid of ["4", "6"]) expect(valuesOf(await store.get(sid))).toEqual({ user: "ada" });
  // Not executed, and called while stale sessions are served. Which ones are the newest is not known then.
  await expect(store.destroyAllOf("ada", { except: "4", keepNewest: 2 })).rejects.toMatchObject(UNAVAILABLE);
  await expect(store.get("6")).rejects.toMatchObject(UNAVAILABLE);
  expect(valuesOf(await store.get("4"))).toEqual({ user: "ada" });
  expect(valuesOf(await store.get("bob"))).toEqual({ user: "bob" });
});

test("invalidations that are received apply: the subscription stands, the data connection does not", async () => {
  const space = newSpace();
  const redis = await ownRedis();
  const stale = { commandTimeoutMs: TIMEOUT_MS, localCache: { staleIfErrorMs: HOUR_MS } };
  const a = await startNode(space, { url: redis.url, cluster: SHORT_LEASE, store: stale });
  const b = await startNode(space, { url: redis.url });
  await save(a, ["s", "t"]);
  a.data.hold("toServer");
  await eventually(() => isAway(a));
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 1 });
  const destroyed = nextEvent(a.store, "destroyed");
  await b.store.destroy("s");
  await destroyed;
  await expect(a.store.get("s")).rejects.toMatchObject(UNAVAILABLE);
  expect(valuesOf(await a.store.get("t"))).toEqual({ v: 1 });
});

test("none is served after the end of its key, nor later than staleIfErrorMs after it was verified", async () => {
  const node = await startStale();
  const { store, redis } = node;
  await store.set("short", sessionOf({ v: 1 }, 1_500));
  await save(node, ["long"]);
  await redis.pause();
  await eventually(() => isAway(node));
  expect(valuesOf(await store.get("long"))).toEqual({ v: 1 });
  await eventually(() =>
    store.get("short").then(
      () => false,
      (error: Error) => error instanceof Error,
    ),
  );
  expect(valuesOf(await store.get("long"))).toEqual({ v: 1 });
  // Longer than it takes until Redis counts as away.
  const brief = await startStale({}, 6_000);
  await save(brief, ["s"]);
  await brief.redis.pause();
  await eventually(() => isAway(brief));
  expect(valuesOf(await brief.store.get("s"))).toEqual({ v: 1 });
  await eventually(() =>
    brief.store.get("s").then(
      () => false,
      (error: Error) => error instanceof Error,
    ),
  );
});

test("while Redis answers, an unverified session is read, and not served if the read fails with a reply", async () => {
  const space = newSpace();
  const a = await startNode(space, {
    cluster: SHORT_LEASE,
    store: { localCache: { staleIfErrorMs: HOUR_MS } },
  });
  const b = await startNode(space);
  await a.store.set("s", sessionOf({ v: 1 }));
  const suspect = nextEvent(a.store, "suspect");
  a.bus.refuse();
  await suspect;
  await b.store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
  await b.store.destroy("s");
  expect(await a.store.get("s")).toBeNull();
  expect(a.store.clusterStats.staleHits).toBe(0);
});

test("by default nothing is kept", async () => {
  const node = await startStale({ store: { commandTimeoutMs: TIMEOUT_MS, localCache: true } });
  await save(node, ["s"]);
  await node.redis.pause();
  await eventually(() => isAway(node));
  await expect(node.store.get("s")).rejects.toMatchObject(UNAVAILABLE);
});
