import { expect } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, loadAsRequest, sessionOf, valuesOf } from "../support/node.ts";

const MANY = 250;

/** What two stores do, whatever Redis and client are below: every method, on more sessions than fit one batch. */
export async function useEverything(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  await readsAndWrites(a, b);
  await manySessions(a, b);
  await noResurrection(a, b);
  expect(await a.isHealthy()).toBe(true);
  expect(await b.health()).toMatchObject({ redis: true, subscribed: true });
}

async function readsAndWrites(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  await a.set("s", sessionOf({ v: 1, text: "ü€😀" }));
  await cacheIn(b, "s");
  const { hits } = b.cacheStats;
  expect(valuesOf(await b.get("s"))).toEqual({ v: 1, text: "ü€😀" });
  expect(b.cacheStats.hits).toBe(hits + 1);
  const invalidated = nextEvent(b, "invalidate");
  await a.set("s", sessionOf({ v: 2 }));
  await invalidated;
  expect(valuesOf(await b.get("s"))).toEqual({ v: 2 });
  // One's own messages, of which there may be several copies, evict nothing.
  await a.set("own", sessionOf({ v: 1 }));
  const received = a.clusterStats.messagesReceived;
  await b.destroy("mark");
  await eventually(() => a.clusterStats.messagesReceived > received);
  await eventually(() => a.localCache.peek("own") !== undefined);
  await b.touch("s", sessionOf({}, 600_000));
  a.evictFromCache("s");
  const end = (await a.get("s"))?.cookie.expires;
  expect(new Date(end as Date).getTime()).toBeGreaterThan(Date.now() + 60_000);
  const destroyed = nextEvent(a, "destroyed");
  await b.destroy("s");
  await destroyed;
  expect(await a.get("s")).toBeNull();
  expect(await a.get("nobody")).toBeNull();
  await b.clear();
}

async function manySessions(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  const sids = Array.from({ length: MANY }, (_, i) => `many-${i}`);
  await Promise.all(sids.map((sid, i) => (i % 2 ? a : b).set(sid, sessionOf({ i }))));
  expect((await a.ids()).sort()).toEqual([...sids].sort());
  expect(await b.length()).toBe(MANY);
  expect((await a.all()).map(({ id }) => id).sort()).toEqual([...sids].sort());
  const streamed = new Map<string, unknown>();
  for await (const { sid, session } of b.sessions()) streamed.set(sid, session["i"]);
  expect(streamed).toEqual(new Map(sids.map((sid, i) => [sid, i])));
  await Promise.all(sids.map((sid) => b.get(sid)));
  expect(await a.destroyWhere((session) => Number(session["i"]) % 2 === 0)).toBe(MANY / 2);
  const left = async () => {
    const found = await Promise.all(sids.map(async (sid, i) => ((await b.get(sid)) === null ? [] : [i])));
    return found.flat();
  };
  // Each primary sends its messages over a connection of its own, so none of them is known to arrive last.
  await eventually(async () => (await left()).every((i) => i % 2 === 1));
  expect(await left()).toHaveLength(MANY / 2);
  const flushed = nextEvent(a, "flush");
  await b.clear();
  await flushed;
  expect(await a.length()).toBe(0);
  expect(await a.get("many-1")).toBeNull();
  expect(a.localCache.size).toBe(0);
}

async function noResurrection(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  await a.set("s", sessionOf({ v: 1 }));
  const request = await loadAsRequest(a, "s");
  request["v"] = 2;
  await b.destroy("s");
  await a.set("s", request);
  expect(await b.get("s")).toBeNull();
  expect(a.clusterStats.resurrections).toBe(1);
}

/** With `onConflict: "merge"`: two requests change different keys of one session. */
export async function useMerge(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  const sids = Array.from({ length: 20 }, (_, i) => `merge-${i}`);
  for (const sid of sids) {
    await a.set(sid, sessionOf({ kept: 1 }));
    const [mine, theirs] = [await loadAsRequest(a, sid), await loadAsRequest(b, sid)];
    await Promise.all([
      a.set(sid, Object.assign(mine, { mine: 1 })),
      b.set(sid, Object.assign(theirs, { theirs: 1 })),
    ]);
    const isMerged = async (store: ClusteredRedisStore) => {
      const values = valuesOf(await store.get(sid));
      return values?.["kept"] === 1 && values["mine"] === 1 && values["theirs"] === 1;
    };
    await eventually(async () => (await isMerged(a)) && (await isMerged(b)));
  }
  expect(a.clusterStats.conflicts + b.clusterStats.conflicts).toBeGreaterThan(0);
  const gone = await loadAsRequest(a, "merge-0");
  await b.destroy("merge-0");
  await a.set("merge-0", Object.assign(gone, { late: 1 }));
  expect(await b.get("merge-0")).toBeNull();
}

/** With `indexBy`: the sessions of a user are found and ended, wherever they are. */
export async function useIndex(a: ClusteredRedisStore, b: ClusteredRedisStore): Promise<void> {
  const sids = Array.from({ length: 60 }, (_, i) => `of-${i}`);
  for (const sid of sids) await a.set(sid, sessionOf({ user: "ada" }));
  await a.set("of-bob", sessionOf({ user: "bob" }));
  expect((await b.sessionsOf("ada")).map(({ sid }) => sid).sort()).toEqual([...sids].sort());
  const moved = await loadAsRequest(b, "of-0");
  await b.set("of-0", Object.assign(moved, { user: "bob" }));
  const touched = await loadAsRequest(b, "of-1");
  touched.cookie.maxAge = 3_600_000;
  await b.touch("of-1", touched);
  await b.destroy("of-2");
  expect(await a.sessionsOf("ada")).toHaveLength(58);
  expect((await a.sessionsOf("bob")).map(({ sid }) => sid).sort()).toEqual(["of-0", "of-bob"]);
  const running = await loadAsRequest(b, "of-3");
  expect(await a.destroyAllOf("ada", { except: "of-1" })).toBe(57);
  await b.set("of-3", Object.assign(running, { late: 1 }));
  expect((await b.sessionsOf("ada")).map(({ sid }) => sid)).toEqual(["of-1"]);
  await eventually(async () => (await b.get("of-4")) === null);
  expect(await b.get("of-3")).toBeNull();
  expect(await b.reindex()).toMatchObject({ cursor: undefined });
  expect(await b.destroyAllOf("ada")).toBe(1);
  expect(await b.destroyAllOf("bob")).toBe(2);
  expect(await a.length()).toBe(0);
}
