import { createCluster } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hookedJson, indexBy } from "../support/indexed.ts";
import { loadAsRequest, newSpace, type Space, sessionOf, valuesOf } from "../support/node.ts";
import { type RedisCluster, startCluster } from "../support/redis/cluster.ts";
import { type AnyClient, openStore, type StoreOptions } from "./stores.ts";

const HOUR_MS = 3_600_000;

let redis: RedisCluster;
beforeAll(async () => {
  redis = await startCluster();
});
afterAll(() => redis?.stop());

async function open(space: Space, options: StoreOptions = {}) {
  const create = () => createCluster({ rootNodes: redis.rootNodes }) as AnyClient;
  return (await openStore(create, space, { indexBy, ...options })).store;
}

/** The set of ends of a user, and commands on it. */
async function endsOf(space: Space, user: string) {
  const key = `idx:{${space.prefix}${user}}:${space.prefix.length}:ends`;
  const { primary } = await redis.ownersOf(key);
  return {
    sids: async () => ((await primary.run("ZRANGE", key, "0", "-1")) as unknown[]).map(String).toSorted(),
    scoreOf: async (sid: string) => Number(await primary.run("ZSCORE", key, sid)),
    makeOlder: async (sid: string) => {
      const score = Number(await primary.run("ZSCORE", key, sid));
      await primary.run("ZADD", key, String(score - HOUR_MS), sid);
    },
  };
}

test("a touch by a request that loaded the session before the login extends the user's entry", async () => {
  const space = newSpace();
  const [a, b] = [await open(space, { touchAfterMs: 0 }), await open(space, { touchAfterMs: 0 })];
  for (let i = 0; i < 10; i++) {
    await a.set(`s${i}`, sessionOf({}));
    const long = await loadAsRequest(a, `s${i}`);
    const login = await loadAsRequest(b, `s${i}`);
    await b.set(`s${i}`, Object.assign(login, { user: "ada" }));
    long.cookie.maxAge = HOUR_MS;
    await a.touch(`s${i}`, long);
    const { scoreOf } = await endsOf(space, "ada");
    expect(await scoreOf(`s${i}`)).toBeGreaterThan(Date.now() + HOUR_MS);
  }
  expect(await b.destroyAllOf("ada")).toBe(10);
});

test("with disableTTL, a listing removes entries that were added long ago, and none that a write has just added", async () => {
  const space = newSpace();
  const options = { disableTTL: true, localCache: false } as const;
  const other = await open(space, options);
  let login: (() => Promise<void>) | undefined;
  const serializer = hookedJson(() => {
    const now = login;
    login = undefined;
    return now?.();
  });
  const store = await open(space, { ...options, serializer });
  const sids = ["alive", "destroyed", "destroyed just now", "of bob", "again"];
  for (const sid of sids) await store.set(sid, sessionOf({ user: "ada" }));
  for (const sid of ["destroyed", "destroyed just now"]) await store.destroy(sid);
  for (const sid of ["of bob", "again"]) await store.set(sid, sessionOf({ user: "bob" }));
  const ends = await endsOf(space, "ada");
  // Three exist: counting does not see that two of them are bob's.
  expect(await store.countOf("ada")).toBe(3);
  expect(await store.sessionsOf("ada")).toHaveLength(1);
  // Any of them may belong to a write that is under way.
  expect(await ends.sids()).toEqual(sids.toSorted());
  for (const sid of sids) if (sid !== "destroyed just now") await ends.makeOlder(sid);
  // One session returns to its user after it has been read.
  login = () => other.set("again", sessionOf({ user: "ada" }));
  await store.sessionsOf("ada");
  expect(await ends.sids()).toEqual(["again", "alive", "destroyed just now"]);
  expect((await other.sessionsOf("ada")).map(({ sid }) => sid).toSorted()).toEqual(["again", "alive"]);
  expect(await other.destroyAllOf("ada")).toBe(2);
  expect(await other.countOf("bob")).toBe(1);
});

test("a session that is noted with an end after one without cannot be taken for one that was added long ago", async () => {
  const space = newSpace();
  const endless = await open(space, { disableTTL: true });
  await endless.set("s", sessionOf({ user: "ada" }));
  const { makeOlder, scoreOf } = await endsOf(space, "ada");
  await makeOlder("s");
  const before = await scoreOf("s");
  await (await open(space)).set("s", sessionOf({ user: "ada" }));
  expect(await scoreOf("s")).toBeGreaterThan(before + HOUR_MS - 60_000);
});

test("a session that changed after it was examined is not deleted", async () => {
  const space = newSpace();
  const [a, b] = [await open(space), await open(space)];
  const sids = Array.from({ length: 20 }, (_, i) => `s${i}`);
  for (const sid of sids) await a.set(sid, sessionOf({}));
  const deleted = await a.destroyWhere(async (session, sid) => {
    const isAnonymous = session["user"] === undefined;
    if (isAnonymous && sid !== "s0") await b.set(sid, sessionOf({ user: "ada" }));
    return isAnonymous;
  });
  expect(deleted).toBe(1);
  expect(await b.countOf("ada")).toBe(19);
  expect(valuesOf(await a.get("s1"))).toEqual({ user: "ada" });
});
