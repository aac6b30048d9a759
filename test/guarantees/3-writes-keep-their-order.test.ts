import { createClient, createClientPool } from "redis";
import { describe, expect, inject, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  directClient,
  loadAsRequest,
  newSpace,
  ownRedis,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";
import { type AnyClient, openStore } from "../topologies/stores.ts";

const MODES = [["overwrite"], ["merge"]] as const;

/** What Redis holds, past the cache. */
async function inRedis(
  prefix: string,
  sid: string,
  url = inject("redisUrl"),
): Promise<Record<string, unknown> | null> {
  const direct = await directClient({ url });
  const text = await direct.get(prefix + sid);
  return text === null ? null : valuesOf(JSON.parse(text));
}

describe.each(MODES)("%s: the saves of one request", (onConflict) => {
  test("that overlap end with the last one", async () => {
    const space = newSpace();
    const { store } = await startNode(space, { store: { onConflict } });
    await store.set("s", sessionOf({ kept: 1 }));
    const session = await loadAsRequest(store, "s");
    Object.assign(session, { paying: true });
    const first = store.set("s", session);
    delete session["paying"];
    await Promise.all([first, store.set("s", session)]);
    expect(await inRedis(space.prefix, "s")).toEqual({ kept: 1 });
    expect(store.clusterStats.conflicts).toBe(0);
  });

  test("are not compared with one whose outcome is unknown", async () => {
    const space = newSpace();
    const node = await startNode(space, { store: { onConflict, commandTimeoutMs: 1_000 } });
    const { store, data } = node;
    await store.set("s", sessionOf({ busy: false }));
    // Redis knows the script from here on.
    await store.set("s", Object.assign(await loadAsRequest(store, "s"), { script: "loaded" }));
    const session = await loadAsRequest(store, "s");
    const direct = await directClient();
    data.hold("toClient");
    const timedOut = store.set("s", Object.assign(session, { busy: true }));
    await expect(timedOut).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    await eventually(async () => (await direct.get(`${space.prefix}s`))?.includes('"busy":true'));
    data.pass();
    await eventually(() =>
      store.set("s", Object.assign(session, { busy: false })).then(
        () => true,
        () => false,
      ),
    );
    expect(await inRedis(space.prefix, "s")).toEqual({ busy: false, script: "loaded" });
    expect(store.clusterStats.conflicts).toBe(0);
  });

  test("are not compared with one that was lost with its connection", async () => {
    const space = newSpace();
    const { store, data, client } = await startNode(space, { store: { onConflict } });
    await store.set("s", sessionOf({ busy: false }));
    await store.set("s", Object.assign(await loadAsRequest(store, "s"), { script: "loaded" }));
    const session = await loadAsRequest(store, "s");
    const direct = await directClient();
    data.hold("toClient");
    const lost = store.set("s", Object.assign(session, { busy: true }));
    lost.catch(() => {});
    await eventually(async () => (await direct.get(`${space.prefix}s`))?.includes('"busy":true'));
    const ready = nextEvent(client, "ready");
    data.cut();
    data.pass();
    await expect(lost).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
    await ready;
    await store.set("s", Object.assign(session, { busy: false }));
    expect(await inRedis(space.prefix, "s")).toEqual({ busy: false, script: "loaded" });
  });

  test("under another id are written there", async () => {
    const space = newSpace();
    const { store } = await startNode(space, { store: { onConflict } });
    await store.set("old", sessionOf({ user: 1 }));
    const session = await loadAsRequest(store, "old");
    await store.set("new", session);
    expect(await inRedis(space.prefix, "new")).toEqual({ user: 1 });
    expect(store.clusterStats.resurrections).toBe(0);
  });

  test("with a shorter lifetime, and then a longer one, end with the longer one", async () => {
    const space = newSpace();
    const { store } = await startNode(space, { store: { onConflict } });
    await store.set("s", sessionOf({}, 600_000));
    const session = await loadAsRequest(store, "s");
    session.cookie.maxAge = 5_000;
    const saving = store.set("s", Object.assign(session, { more: 1 }));
    session.cookie.maxAge = 600_000;
    await Promise.all([saving, store.touch("s", session)]);
    const direct = await directClient();
    expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(500_000);
  });
});

test("merge: a request's own earlier save is no conflict", async () => {
  const space = newSpace();
  const { store } = await startNode(space, {
    store: {
      onConflict: "merge",
      resolveConflict: (_, { base, theirs, mine }) => Number(theirs) + Number(mine) - Number(base),
    },
  });
  await store.set("s", sessionOf({ counter: 1 }));
  const session = await loadAsRequest(store, "s");
  const saves = [2, 3].map((counter) => store.set("s", Object.assign(session, { counter })));
  await Promise.all(saves);
  expect(await inRedis(space.prefix, "s")).toEqual({ counter: 3 });
});

test("merge: forty requests of one process that save at the same moment lose nothing", async () => {
  const space = newSpace();
  // The last one waits for all others.
  const { store } = await startNode(space, { store: { onConflict: "merge", commandTimeoutMs: 60_000 } });
  await store.set("s", sessionOf({}));
  const keys = Array.from({ length: 40 }, (_, i) => `key${i}`);
  const requests = await Promise.all(keys.map(() => loadAsRequest(store, "s")));
  await Promise.all(
    keys.map((key, i) => store.set("s", Object.assign(requests[i] as object, { [key]: i }) as never)),
  );
  expect(Object.keys((await inRedis(space.prefix, "s")) ?? {}).sort()).toEqual([...keys].sort());
});

test("merge: another request's change of the cookie's age is kept like any other key", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: { onConflict: "merge" } });
  await store.set("s", sessionOf({}, 60_000));
  const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
  theirs.cookie.maxAge = 3_600_000;
  await store.set("s", Object.assign(theirs, { remembered: true }));
  await store.set("s", Object.assign(mine, { seen: true }));
  const direct = await directClient();
  const { cookie, ...values } = JSON.parse((await direct.get(`${space.prefix}s`)) ?? "null");
  expect(values).toEqual({ remembered: true, seen: true });
  expect(cookie.originalMaxAge).toBeGreaterThan(3_500_000);
  expect(await direct.pTTL(`${space.prefix}s`)).toBeGreaterThan(3_500_000);
});

test("merge: a value that is not valid UTF-8 fails at once, by its own name", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: { onConflict: "merge" } });
  const direct = await directClient();
  const text = JSON.stringify(sessionOf({ name: "?" }));
  const [before = "", after = ""] = text.split("?");
  const value = Buffer.concat([Buffer.from(before), Buffer.from([0xff]), Buffer.from(after)]);
  await direct.sendCommand(["SET", `${space.prefix}s`, value as unknown as string]);
  const session = await loadAsRequest(store, "s");
  await expect(store.set("s", Object.assign(session, { more: 1 }))).rejects.toMatchObject({
    code: "ERR_SESSION_CORRUPT",
  });
  expect(store.clusterStats.conflicts).toBe(0);
});

test("a get that is called right after a set sees it, with a cache and without", async () => {
  for (const localCache of [true, false]) {
    const { store } = await startNode(newSpace(), { store: { localCache } });
    await store.set("s", sessionOf({ v: 1 }));
    const session = await loadAsRequest(store, "s");
    const saving = store.set("s", Object.assign(session, { v: 2 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
    await saving;
    const destroying = store.destroy("s");
    expect(await store.get("s")).toBeNull();
    await destroying;
  }
});

test("a get that is called after a set waits for Redis to execute it, not for the reply", async () => {
  const { store } = await openPool();
  await store.set("s", sessionOf({ v: 1 }));
  const saving = store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
  await saving;
});

/** A store on a pool of real connections. */
async function openPool(url = inject("redisUrl")): Promise<{ store: ClusteredRedisStore; prefix: string }> {
  const space = newSpace();
  const create = () => createClientPool({ url }, { minimum: 4, maximum: 4 }) as unknown as AnyClient;
  const { store } = await openStore(create, space, { cluster: { subscriber: createClient({ url }) } });
  return { store, prefix: space.prefix };
}

test("on a pool, a large save does not overtake a small one that is called after it", async () => {
  const { store, prefix } = await openPool();
  for (let i = 0; i < 20; i++) {
    await store.set("s", sessionOf({ v: 0 }));
    const session = await loadAsRequest(store, "s");
    const large = store.set("s", Object.assign(session, { v: 1, big: "x".repeat(1_000_000) }));
    delete session["big"];
    await Promise.all([large, store.set("s", Object.assign(session, { v: 2 }))]);
    expect(await inRedis(prefix, "s")).toEqual({ v: 2 });
  }
});

test("a destroy whose script Redis no longer has does not delete the session that is set after it", async () => {
  const { url } = await ownRedis();
  const { store, prefix } = await openPool(url);
  const direct = await directClient({ url });
  await store.set("s", sessionOf({ v: 1 }));
  // Redis knows it from here on.
  await store.destroy("other");
  await direct.scriptFlush();
  const destroying = store.destroy("s");
  await Promise.all([destroying, store.set("s", sessionOf({ v: 2 }))]);
  expect(await inRedis(prefix, "s", url)).toEqual({ v: 2 });
});

test("what waits for a connection is sent before what is called once there is one", async () => {
  const space = newSpace();
  const { store, data, client } = await startNode(space);
  await store.set("s", sessionOf({ v: 0 }));
  const commands = await watchCommands(space);
  const reconnecting = nextEvent(client, "reconnecting");
  data.refuse();
  data.cut();
  await reconnecting;
  const waiting = store.set("s", sessionOf({ v: 1 }));
  const ready = nextEvent(client, "ready");
  data.accept();
  await ready;
  const called = store.set("s", sessionOf({ v: 2 }));
  await Promise.all([waiting, called]);
  expect(await inRedis(space.prefix, "s")).toEqual({ v: 2 });
  await eventually(() => commands.filter((command) => command === "SET").length === 2);
});

describe.each([
  ["a touch", "touch"],
  ["a save that changes nothing", "set"],
] as const)("%s", (_, method) => {
  test.each([
    [20, 40],
    [40, 20],
  ])(
    "to %i minutes follows a pending write to %i minutes, although its request had loaded the former",
    async (own, other) => {
      const minutes = (count: number) => count * 60_000;
      const space = newSpace();
      // Without a cache, only the request knows when the session ends.
      const { store } = await startNode(space, { store: { localCache: false } });
      await store.set("s", sessionOf({ v: 1 }, minutes(own)));
      const session = await loadAsRequest(store, "s");
      const written = store.set("s", sessionOf({ v: 1 }, minutes(other)));
      await Promise.all([written, store[method]("s", session)]);
      const direct = await directClient();
      const leftMs = await direct.pTTL(`${space.prefix}s`);
      expect(Math.abs(leftMs - minutes(own))).toBeLessThan(minutes(2));
    },
  );
});
