import { describe, expect, test } from "vitest";
import { RedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  loadAsRequest,
  type Node,
  newSpace,
  sessionOf,
  setAndReceive,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

/** connect-redis's surface, without its faults. */

/** In minutes, so that what a slow machine takes for a test does not count. */
const MINUTE = 60_000;

test("the class has connect-redis's name, too", async () => {
  const { store } = await startNode(newSpace());
  expect(store).toBeInstanceOf(RedisStore);
});

test("what is written is connect-redis's to the byte: key prefix + sid, value stringify(session)", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  const session = sessionOf({ user: "ann", nested: { list: [1, null, "ü"] } });
  await store.set("s", session);
  expect(await direct.get(`${space.prefix}s`)).toBe(JSON.stringify(session));
  expect(await direct.keys(`${space.prefix}*`)).toEqual([`${space.prefix}s`]);
});

test("what connect-redis wrote, with EX in whole seconds, is read", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ user: "ann" })), {
    expiration: { type: "EX", value: 60 },
  });
  expect(valuesOf(await store.get("s"))).toEqual({ user: "ann" });
});

test("all, ids, length and clear work on hundreds of sessions, and touch no other prefix", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { scanCount: 10 } });
  await direct.set(`other:${space.channel}`, "stays", { expiration: { type: "EX", value: 3_600 } });
  for (let i = 0; i < 250; i++) await store.set(`s${i}`, sessionOf({ i }, 60 * MINUTE));
  expect(await store.length()).toBe(250);
  expect(new Set(await store.ids()).size).toBe(250);
  const all = await store.all();
  expect(all).toHaveLength(250);
  expect(all.find(({ id }) => id === "s7")).toMatchObject({ i: 7 });
  await store.clear();
  expect(await store.length()).toBe(0);
  expect(await store.all()).toEqual([]);
  expect(await direct.get(`other:${space.channel}`)).toBe("stays");
});

test("clear deletes a key that is the prefix alone", async () => {
  const { prefix, channel } = newSpace();
  const direct = await directClient();
  const { store } = await startNode({ prefix, channel });
  await direct.set(prefix, "{}", { expiration: { type: "EX", value: 3_600 } });
  expect(await store.ids()).toEqual([""]);
  await store.clear();
  expect(await store.ids()).toEqual([]);
});

test("glob characters in the prefix stand for themselves", async () => {
  const space = newSpace();
  const direct = await directClient();
  for (const glob of ["*", "?", "[a-z]", "\\", "^"]) {
    const { store } = await startNode(space, { store: { prefix: `${space.prefix}${glob}:` } });
    await direct.set(`${space.prefix}x:other`, JSON.stringify(sessionOf()));
    await store.set("s", sessionOf({ glob }));
    expect(await store.ids()).toEqual(["s"]);
    expect((await store.all()).map(({ id }) => id)).toEqual(["s"]);
    await store.clear();
    expect(await store.length()).toBe(0);
  }
  expect(await direct.exists(`${space.prefix}x:other`)).toBe(1);
});

test("an empty prefix works", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: { prefix: "" } });
  await store.set(space.prefix, sessionOf({ v: 1 }));
  expect(valuesOf(await store.get(space.prefix))).toEqual({ v: 1 });
  await store.destroy(space.prefix);
});

test("all awaits an asynchronous serializer", async () => {
  const serializer = {
    stringify: (session: object) => Buffer.from(JSON.stringify(session)).toString("base64"),
    parse: async (text: string) => JSON.parse(Buffer.from(text, "base64").toString()),
  };
  const { store } = await startNode(newSpace(), { store: { serializer } });
  await store.set("s", sessionOf({ v: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  expect(await store.all()).toMatchObject([{ id: "s", v: 1 }]);
});

test("an expires that has become old does not delete the session that is saved: it gets its maxAge again", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  const stale = sessionOf({ v: 1 });
  stale.cookie.expires = new Date(Date.now() - 1_000);
  await store.set("s", stale);
  expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(30_000);
});

test("an expires that the application set into the past deletes", async () => {
  const { store } = await startNode(newSpace());
  for (const originalMaxAge of [null, -1_000, undefined]) {
    await store.set("s", sessionOf());
    const session = sessionOf();
    Object.assign(session.cookie, { expires: new Date(Date.now() - 1_000), originalMaxAge });
    await store.set("s", session);
    expect(await store.get("s")).toBeNull();
  }
});

test("ttl as a function decides, and 0 deletes", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { ttl: (session) => Number(session["seconds"]) } });
  await store.set("s", sessionOf({ seconds: 100 }));
  expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(90_000);
  await store.set("s", sessionOf({ seconds: 0 }));
  expect(await store.get("s")).toBeNull();
});

test("disableTTL stores without expiry, and disableTouch keeps the expiry", async () => {
  const space = newSpace();
  const direct = await directClient();
  const forever = await startNode(space, { store: { disableTTL: true } });
  await forever.store.set("s", sessionOf());
  expect(await direct.pTTL(`${space.prefix}s`)).toBe(-1);
  await forever.store.touch("s", sessionOf());
  expect(await direct.pTTL(`${space.prefix}s`)).toBe(-1);
  const untouched = await startNode(space, { store: { disableTouch: true, touchAfterMs: 0 } });
  await untouched.store.set("t", sessionOf({}, 60_000));
  await untouched.store.touch("t", sessionOf({}, 600_000));
  expect(await direct.pTTL(`${space.prefix}t`)).toBeLessThanOrEqual(60_000);
});

test("touchAfterMs: a touch is skipped until it would add as much to the key's real expiry", async () => {
  const space = newSpace();
  const direct = await directClient();
  const a = await startNode(space, { store: { touchAfterMs: 10 * MINUTE } });
  const b = await startNode(space, { store: { touchAfterMs: 10 * MINUTE } });
  await a.store.set("s", sessionOf({}, 60 * MINUTE));
  const commands = await watchCommands(space);
  // Node b has only just read the session.
  await b.store.get("s");
  await b.store.touch("s", sessionOf({}, 65 * MINUTE));
  await a.store.touch("s", sessionOf({}, 69 * MINUTE));
  expect(await direct.pTTL(`${space.prefix}s`)).toBeLessThanOrEqual(60 * MINUTE);
  await b.store.touch("s", sessionOf({}, 75 * MINUTE));
  expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(65 * MINUTE);
  await eventually(() => commands.includes("PEXPIRE"));
  expect(commands.filter((command) => command === "PEXPIRE")).toHaveLength(1);
});

test("whatever is touched where, no session expires earlier than requested by more than the window", async () => {
  const space = newSpace();
  const direct = await directClient();
  const windowMs = 5 * MINUTE;
  const nodes = [
    await startNode(space, { store: { touchAfterMs: windowMs } }),
    await startNode(space, { store: { touchAfterMs: windowMs } }),
  ];
  const { store } = nodes[0] as Node;
  await store.set("s", sessionOf({}, 60 * MINUTE));
  const commands = await watchCommands(space);
  for (let i = 0; i < 60; i++) {
    const node = nodes[i % 2] as Node;
    const asked = (60 + i * 0.7) * MINUTE;
    await node.store.get("s");
    const before = performance.now();
    await node.store.touch("s", sessionOf({}, asked));
    const left = await direct.pTTL(`${space.prefix}s`);
    const took = performance.now() - before;
    expect(left).toBeGreaterThanOrEqual(asked - windowMs - took - 1);
  }
  await store.destroy("s");
  await eventually(() => commands.includes("DEL"));
  const touches = commands.filter((command) => command === "PEXPIRE").length;
  expect(touches).toBeGreaterThan(5);
  expect(touches).toBeLessThan(30);
});

test("touchAfterMs: 0 touches Redis every time", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: { touchAfterMs: 0 } });
  const session = sessionOf();
  await store.set("s", session);
  const commands = await watchCommands(space);
  for (let i = 0; i < 3; i++) await store.touch("s", session);
  await eventually(() => commands.filter((command) => command === "PEXPIRE").length === 3);
});

for (const [name, serializer] of Object.entries({
  JSON: undefined,
  "a custom serializer": { stringify: JSON.stringify, parse: async (text: string) => JSON.parse(text) },
})) {
  test(`${name}: a save that changes nothing but the cookie's expires is a touch, and skipped like one`, async () => {
    const space = newSpace();
    const direct = await directClient();
    const { store } = await startNode(space, { store: { serializer } });
    await store.set("s", sessionOf({ v: 1 }, 60 * MINUTE));
    const commands = await watchCommands(space);
    const request = await loadAsRequest(store, "s");
    // As express-session does at the end of each request, and it now and then loses a millisecond between two clock reads.
    request.cookie.maxAge = 60 * MINUTE;
    request.cookie.originalMaxAge = 60 * MINUTE - 1;
    await store.set("s", request);
    await direct.pExpire(`${space.prefix}s`, 30 * MINUTE);
    store.evictFromCache("s");
    const later = await loadAsRequest(store, "s");
    later.cookie.maxAge = 60 * MINUTE;
    later.cookie.originalMaxAge = 60 * MINUTE - 1;
    await store.set("s", later);
    request["v"] = 2;
    await store.set("s", request);
    await eventually(() => commands.includes("SET"));
    expect(commands.filter((command) => command === "SET" || command === "PEXPIRE")).toEqual([
      "PEXPIRE",
      "PEXPIRE",
      "SET",
    ]);
    // The first PEXPIRE is the test's own.
    expect(store.clusterStats).toMatchObject({ messagesPublished: 2, resurrections: 0 });
  });
}

/** An amount that nobody can compare from outside. */
class Amount {
  readonly #cents: number;

  constructor(cents: number) {
    this.#cents = cents;
  }

  toJSON() {
    return { cents: this.#cents };
  }
}

const reviveAmounts = (_: string, value: unknown) =>
  value !== null && typeof value === "object" && "cents" in value ? new Amount(Number(value.cents)) : value;

describe.each([
  ["a synchronous", (text: string) => JSON.parse(text, reviveAmounts)],
  ["an asynchronous", async (text: string) => JSON.parse(text, reviveAmounts)],
])("with %s serializer of its own, a save is written that changes", (_, parse) => {
  test.each([
    ["only a private field of an object", new Amount(1), new Amount(2)],
    ["only the order of keys", { first: 1, second: 2 }, { second: 2, first: 1 }],
  ])("%s", async (_, before, after) => {
    const space = newSpace();
    const direct = await directClient();
    const { store } = await startNode(space, { store: { serializer: { parse, stringify: JSON.stringify } } });
    await store.set("s", sessionOf({ value: before }));
    const request = await loadAsRequest(store, "s");
    request["value"] = after;
    await store.set("s", request);
    expect(await direct.get(`${space.prefix}s`)).toContain(`"value":${JSON.stringify(after)}`);
  });
});

test("an unchanged save extends the session though disableTouch is set: it is a save", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { disableTouch: true } });
  await store.set("s", sessionOf({}, 600_000));
  await direct.pExpire(`${space.prefix}s`, 30_000);
  store.evictFromCache("s");
  const request = await loadAsRequest(store, "s");
  request.cookie.maxAge = 600_000;
  await store.set("s", request);
  expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(500_000);
});

test.each(["from Redis", "from the cache"])(
  "an unchanged save removes the expiry of a session loaded %s that was written before disableTTL was set",
  async (from) => {
    const space = newSpace();
    const direct = await directClient();
    const before = await startNode(space);
    await before.store.set("s", sessionOf());
    const { store } = await startNode(space, { store: { disableTTL: true } });
    if (from === "from the cache") await cacheIn(store, "s");
    await store.set("s", await loadAsRequest(store, "s"));
    expect(await direct.pTTL(`${space.prefix}s`)).toBe(-1);
    const commands = await watchCommands(space);
    await store.set("s", await loadAsRequest(store, "s"));
    await store.destroy("s");
    await eventually(() => commands.includes("DEL"));
    expect(commands).not.toContain("SET");
  },
);

test("an unchanged save of a session that was destroyed meanwhile does not restore it, and emits an event", async () => {
  const space = newSpace();
  const a = await startNode(space, { store: { touchAfterMs: 0 } });
  const b = await startNode(space);
  await a.store.set("s", sessionOf());
  const request = await loadAsRequest(a.store, "s");
  await b.store.destroy("s");
  await a.store.set("s", request);
  expect(await b.store.get("s")).toBeNull();
  expect(a.store.clusterStats.resurrections).toBe(1);
});

test("a touch of a session that does not exist creates nothing", async () => {
  const { store } = await startNode(newSpace());
  await store.touch("s", sessionOf());
  expect(await store.get("s")).toBeNull();
});

test("sessions streams, with ids; destroyWhere deletes what the predicate picks, on all nodes, and counts", async () => {
  const space = newSpace();
  const a = await startNode(space);
  // None is to leave the cache before the others are in it.
  const b = await startNode(space, { store: { localCache: { ttlMs: 60 * MINUTE } } });
  for (let i = 0; i < 230; i++) await a.store.set(`s${i}`, sessionOf({ i }, 60 * MINUTE));
  for (let i = 0; i < 230; i++) await cacheIn(b.store, `s${i}`);
  const seen = new Set<string>();
  for await (const { sid, session } of a.store.sessions()) {
    expect(`s${session["i"]}`).toBe(sid);
    seen.add(sid);
  }
  expect(seen.size).toBe(230);
  expect(await a.store.destroyWhere(async (session) => Number(session["i"]) % 2 === 0)).toBe(115);
  await eventually(() => b.store.localCache.size === 115);
  expect(await b.store.get("s0")).toBeNull();
  expect(valuesOf(await b.store.get("s1"))).toEqual({ i: 1 });
  expect(await a.store.length()).toBe(115);
});

test("clear empties the cache of every node", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.set("s", sessionOf());
  await b.store.get("s");
  await a.store.clear();
  await eventually(() => b.store.localCache.size === 0);
  expect(await b.store.get("s")).toBeNull();
  expect(a.store.localCache.size).toBe(0);
});

test("stats can be read and reset, and evictFromCache returns whether there was something", async () => {
  const { store } = await startNode(newSpace());
  await setAndReceive(store, "s", sessionOf());
  await store.get("s");
  store.evictFromCache("nobody");
  expect(store.evictFromCache("s")).toBe(true);
  expect(store.evictFromCache("s")).toBe(false);
  await store.get("s");
  expect(store.cacheStats).toMatchObject({ hits: 1, misses: 1, hitRate: 0.5, size: 1, evictions: 0 });
  store.resetCacheStats();
  expect(store.cacheStats).toMatchObject({ hits: 0, misses: 0, hitRate: 0, size: 1 });
});
