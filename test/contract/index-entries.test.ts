import { expect, test } from "vitest";
import type { IndexBy } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { hookedJson, indexBy, startIndexed as start } from "../support/indexed.ts";
import {
  directClient,
  loadAsRequest,
  newSpace,
  ownRedis,
  type Space,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

const HOUR_MS = 3_600_000;

const setsOf = ({ prefix }: Space, user: string) => `idx:{${prefix}${user}}:${prefix.length}`;
const endsKey = (space: Space, user: string) => `${setsOf(space, user)}:ends`;

/** Whether the index entry of a session lives at least as long as its key. */
async function outlivesKey(space: Space, user: string, sid: string): Promise<boolean> {
  const direct = await directClient();
  const ends = await direct.zScore(endsKey(space, user), sid);
  const ttlMs = await direct.pTTL(space.prefix + sid);
  const setTtlMs = await direct.pTTL(endsKey(space, user));
  return ends !== null && ends >= Date.now() + ttlMs && setTtlMs >= ttlMs;
}

for (const localCache of [true, false]) {
  test(`cache ${localCache}: a touch by a request that loaded the session before the login extends the user's entry`, async () => {
    const space = newSpace();
    const a = await start(space, { touchAfterMs: 0, localCache });
    const b = await start(space, { touchAfterMs: 0, localCache });
    await a.store.set("s", sessionOf({}));
    const long = await loadAsRequest(a.store, "s");
    const login = await loadAsRequest(b.store, "s");
    await b.store.set("s", Object.assign(login, { user: "ada" }));
    long.cookie.maxAge = HOUR_MS;
    await a.store.touch("s", long);
    const direct = await directClient();
    expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(HOUR_MS - 60_000);
    expect(await outlivesKey(space, "ada", "s")).toBe(true);
    expect(await b.store.destroyAllOf("ada")).toBe(1);
  });
}

test("a touch with a plain object extends the entry of the user that the session has", async () => {
  const space = newSpace();
  const { store } = await start(space, { touchAfterMs: 0 });
  await store.set("s", sessionOf({ user: "ada" }));
  store.evictFromCache("s");
  await store.touch("s", sessionOf({ user: "bob" }, HOUR_MS));
  expect(await outlivesKey(space, "ada", "s")).toBe(true);
  expect(await store.countOf("bob")).toBe(0);
});

test("a touch after another process changed the owner removes the entry of the former one", async () => {
  const space = newSpace();
  const [a, b] = [await start(space, { touchAfterMs: 0 }), await start(space)];
  await a.store.set("s", sessionOf({ user: "ada" }));
  const request = await loadAsRequest(a.store, "s");
  // A plain object: this write does not know the former owner.
  const invalidated = nextEvent(a.store, "invalidate");
  await b.store.set("s", sessionOf({ user: "bob" }));
  await invalidated;
  request.cookie.maxAge = HOUR_MS;
  await a.store.touch("s", request);
  expect(await outlivesKey(space, "bob", "s")).toBe(true);
  expect(await (await directClient()).zScore(endsKey(space, "ada"), "s")).toBeNull();
});

for (const [name, value] of [
  ["cannot be read", "{"],
  ["has no valid index value", JSON.stringify(sessionOf({ user: 42 }))],
] as const) {
  test(`a touch of a session that ${name} fails: the key does not outlive its entry`, async () => {
    const space = newSpace();
    const direct = await directClient();
    const { store } = await start(space, { touchAfterMs: 0, localCache: false });
    await store.set("s", sessionOf({ user: "ada" }));
    const request = await loadAsRequest(store, "s");
    await direct.set(`${space.prefix}s`, value, { expiration: { type: "PX", value: 60_000 } });
    const failed = nextEvent(store, "clusterError");
    request.cookie.maxAge = HOUR_MS;
    await store.touch("s", request);
    await failed;
    expect(store.clusterStats.failedTouches).toBe(1);
    expect(await direct.pTTL(`${space.prefix}s`)).toBeLessThanOrEqual(60_000);
    await store.destroy("s");
    expect(await direct.exists(`${space.prefix}s`)).toBe(0);
  });
}

test("a touch of a session that changes whenever it is read fails with a conflict", async () => {
  const space = newSpace();
  const direct = await directClient();
  let n = 0;
  const serializer = hookedJson(() => {
    const text = JSON.stringify(sessionOf({ user: "ada", n: n++ }));
    return direct.set(`${space.prefix}s`, text, { expiration: { type: "PX", value: 60_000 } });
  });
  const { store } = await start(space, { touchAfterMs: 0, serializer });
  await store.set("s", sessionOf({ user: "ada" }));
  const failed = nextEvent(store, "clusterError");
  await store.touch("s", sessionOf({ user: "ada" }, HOUR_MS));
  const [error] = await failed;
  expect(error).toMatchObject({ code: "ERR_SESSION_CONFLICT" });
  // What the process knew, and what it found each of 32 times.
  expect(n).toBe(33);
});

test("without indexBy a touch reads nothing, and with it neither if the value is known", async () => {
  const [plain, indexed] = [newSpace(), newSpace()];
  const nodes = [
    [plain, (await startNode(plain, { store: { touchAfterMs: 0 } })).store, ["EVALSHA", "PTTL", "PEXPIRE"]],
    [
      indexed,
      (await start(indexed, { touchAfterMs: 0 })).store,
      ["EVALSHA", "PTTL", "GET", "ZADD", "PEXPIRE"],
    ],
  ] as const;
  for (const [space, store, expected] of nodes) {
    await store.set("s", sessionOf({ user: "ada" }));
    const request = await loadAsRequest(store, "s");
    const commands = await watchCommands(space);
    request.cookie.maxAge = HOUR_MS;
    await store.touch("s", request);
    await eventually(() => commands.includes("PEXPIRE"));
    const names = commands.filter((name) => ["EVALSHA", "PTTL", "GET", "ZADD", "PEXPIRE"].includes(name));
    expect([...new Set(names)]).toEqual(expected);
  }
});

test("with disableTTL, a listing removes the entries of sessions that are gone or somebody else's", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space, { disableTTL: true, localCache: false });
  for (let i = 0; i < 50; i++) {
    await store.set(`s${i}`, sessionOf({ user: "ada" }));
    // Without the cache, nobody knows whose it is.
    if (i < 40) await store.destroy(`s${i}`);
    else if (i < 45) await store.set(`s${i}`, sessionOf({ user: "bob" }));
  }
  expect(await direct.zCard(endsKey(space, "ada"))).toBe(50);
  // Counting looks only at whether the sessions exist.
  expect(await store.countOf("ada")).toBe(10);
  expect(await store.sessionsOf("ada")).toHaveLength(5);
  expect(await store.countOf("ada")).toBe(5);
  for (const set of ["ends", "since"]) {
    expect(await direct.zCard(`${setsOf(space, "ada")}:${set}`)).toBe(5);
  }
  expect(await store.destroyAllOf("ada")).toBe(5);
  expect(await store.destroyAllOf("bob")).toBe(5);
  expect(await direct.keys(`idx:{${space.prefix}*`)).toEqual([]);
});

test("a listing keeps the entry of a session that returns to its user after it was read", async () => {
  const space = newSpace();
  const direct = await directClient();
  const b = await start(space, { disableTTL: true });
  let returns = false;
  const serializer = hookedJson(async () => {
    if (returns) await b.store.set("s", sessionOf({ user: "ada" }));
    returns = false;
  });
  const a = await start(space, { disableTTL: true, localCache: false, serializer });
  await a.store.set("s", sessionOf({ user: "ada" }));
  await a.store.set("s", sessionOf({ user: "bob" }));
  returns = true;
  expect(await a.store.sessionsOf("ada")).toEqual([]);
  expect(await direct.zScore(endsKey(space, "ada"), "s")).not.toBeNull();
  expect(await b.store.countOf("ada")).toBe(1);
});

test("the sets of a value expire again once its last entry without expiry is gone", async () => {
  const space = newSpace();
  const direct = await directClient();
  const endless = await start(space, { disableTTL: true, localCache: false });
  const ending = await start(space, { localCache: false });
  await endless.store.set("endless", sessionOf({ user: "ada" }));
  await ending.store.set("ending", sessionOf({ user: "ada" }));
  await endless.store.destroy("endless");
  expect(await direct.pTTL(endsKey(space, "ada"))).toBe(-1);
  expect(await ending.store.countOf("ada")).toBe(1);
  for (const set of ["ends", "since"]) {
    expect(await direct.pTTL(`${setsOf(space, "ada")}:${set}`)).toBeGreaterThan(0);
  }
});

test("a session without a valid index value hides no other from sessionsOf or destroyAllOf, and keeps its entry", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space, { localCache: false });
  for (const sid of ["first", "broken", "last"]) await store.set(sid, sessionOf({ user: "ada" }));
  const broken = JSON.stringify(sessionOf({ user: 42 }));
  await direct.set(`${space.prefix}broken`, broken, { expiration: { type: "PX", value: 60_000 } });
  const reported = nextEvent(store, "clusterError");
  expect(await store.destroyAllOf("ada")).toBe(2);
  await reported;
  expect(await direct.zRange(endsKey(space, "ada"), 0, -1)).toEqual(["broken"]);
});

test("reindex skips and reports what has no index value, and destroyAllOf finds all the rest", async () => {
  const space = newSpace();
  // While others add and delete keys, SCAN may return a key twice.
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  const before = await startNode(space, { url });
  for (let i = 0; i < 60; i++) await before.store.set(`s${i}`, sessionOf({ user: "ada" }));
  const expiration = { type: "PX", value: 60_000 } as const;
  await direct.set(`${space.prefix}corrupt`, "{oops", { expiration });
  await direct.set(`${space.prefix}number`, JSON.stringify(sessionOf({ user: 42 })), { expiration });
  await direct.set(`${space.prefix}throws`, JSON.stringify(sessionOf({ user: "throw" })), { expiration });
  const throwing: IndexBy = (session) => {
    if (session["user"] === "throw") throw new Error("indexBy failed");
    return indexBy(session);
  };
  const { store } = await startNode(space, { url, store: { indexBy: throwing, scanCount: 10 } });
  const reported: string[] = [];
  store.on("clusterError", ({ message }: Error) => reported.push(message));
  const progress = await store.reindex();
  expect(progress).toMatchObject({ skipped: 3, cursor: undefined });
  expect(progress.indexed).toBe(progress.scanned - 3);
  expect(reported).toHaveLength(3);
  expect(reported.join()).toMatch(/is not a session/);
  expect(reported.join()).toMatch(/got 42/);
  expect(reported.join()).toMatch(/indexBy failed/);
  expect(await store.destroyAllOf("ada")).toBe(60);
});

test("an index value has at most 1,024 characters", async () => {
  const space = newSpace();
  const { store } = await start(space);
  const [longest, tooLong] = ["x".repeat(1024), "x".repeat(1025)];
  await store.set("s", sessionOf({ user: longest }));
  expect(await store.countOf(longest)).toBe(1);
  await expect(store.set("t", sessionOf({ user: tooLong }))).rejects.toThrow(
    new TypeError(
      "indexBy: the function must return a string that has at most 1024 characters, or undefined, got a string of 1025 characters",
    ),
  );
  expect(await store.get("t")).toBeNull();
  const argument =
    "value: expected a string that has at most 1024 characters, as indexBy returns it, got a string of 1025 characters";
  for (const method of ["sessionsOf", "countOf", "destroyAllOf"] as const) {
    await expect(store[method](tooLong)).rejects.toThrow(new TypeError(argument));
  }
  expect(valuesOf(await store.get("s"))).toEqual({ user: longest });
});

test("an index value has no lone surrogate: Redis would give two users one index", async () => {
  const { store } = await start(newSpace());
  const [mallory, victim] = ["ada\ud800", "ada\ufffd"];
  await store.set("victim", sessionOf({ user: victim }));
  await expect(store.set("mallory", sessionOf({ user: mallory }))).rejects.toThrow(
    /^indexBy: .* has no lone surrogate/,
  );
  for (const method of ["sessionsOf", "countOf", "destroyAllOf"] as const) {
    await expect(store[method](mallory)).rejects.toThrow(/^value: .* has no lone surrogate/);
  }
  expect(await store.countOf(victim)).toBe(1);
});

test("a session that is logged out by its cookie needs no valid index value", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space);
  for (const act of ["set", "touch"] as const) {
    await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ user: 42 })));
    await store[act]("s", sessionOf({ user: 42 }, -1_000));
    expect(await direct.exists(`${space.prefix}s`)).toBe(0);
  }
});
