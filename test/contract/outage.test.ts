import { tracingChannel } from "node:diagnostics_channel";
import { createClient, createClientPool } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  ClusteredRedisStore,
  type ClusteredRedisStoreOptions,
  type StoreOperation,
} from "../../lib/index.ts";
import type { Connection } from "../../lib/redis/client.ts";
import { Demoted } from "../../lib/redis/demoted.ts";
import { eventually } from "../support/eventually.ts";
import { startProxy } from "../support/fault-proxy.ts";
import {
  type Client,
  directClient,
  newSpace,
  ownRedis,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
  whenLive,
} from "../support/node.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import * as v5 from "../support/redis-v5.ts";

/** Longer than a busy machine takes for a command. */
const TIMEOUT_MS = 1_000;
const REFUSED = { name: "SessionStoreError", code: "ERR_SESSION_UNAVAILABLE" };
const WRITERS = 15;
const MEGABYTE = 2 ** 20;

type AnyClient = Client & { execute?: unknown };

const clients: Record<string, (url: string) => AnyClient> = {
  "node-redis 6": (url) => createClient({ url }) as AnyClient,
  "node-redis 5": (url) => v5.createClient({ url }) as unknown as AnyClient,
  "a pool of node-redis 6": (url) =>
    createClientPool({ url }, { minimum: 2, maximum: 4 }) as unknown as AnyClient,
  "a pool of node-redis 5": (url) =>
    v5.createClientPool({ url }, { minimum: 2, maximum: 4 }) as unknown as AnyClient,
};

async function openStore(
  create: (url: string) => AnyClient,
  url: string,
  options: Partial<ClusteredRedisStoreOptions> = {},
): Promise<{ store: ClusteredRedisStore; client: AnyClient }> {
  const client = create(url);
  client.on("error", () => {});
  await client.connect();
  const { prefix, channel } = newSpace();
  const store = new ClusteredRedisStore({
    client,
    prefix,
    commandTimeoutMs: TIMEOUT_MS,
    cluster: { channel, subscriber: createClient({ url }), ...SHORT_LEASE },
    ...options,
  });
  onTestFinished(async () => {
    client.destroy();
    await store.close();
  });
  return { store, client };
}

const isAway = (store: ClusteredRedisStore) => store.clusterStats.outageMs !== null;

describe.each(Object.entries(clients))("%s", (name, create) => {
  test.each(["killed", "stopped"])(
    "Redis %s: once that is known, operations fail at once, until it replies",
    async (how) => {
      const redis = await ownRedis();
      const { store } = await openStore(create, redis.url);
      await whenLive(store);
      const errors: Error[] = [];
      store.on("clusterError", (error) => errors.push(error));
      await store.set("s", sessionOf({ v: 1 }));
      if (how === "killed") await redis.kill();
      else await redis.pause();
      await eventually(() => isAway(store));
      const message =
        /^get of session \w{16}: Redis has not answered since \d{4}-\d\d-\d\dT[\d:.]+Z \(\d+ s\): \w/;
      await expect(store.get("s")).rejects.toMatchObject({
        ...REFUSED,
        message: expect.stringMatching(message),
      });
      await expect(store.set("s", sessionOf())).rejects.toMatchObject(REFUSED);
      await expect(store.destroy("s")).rejects.toMatchObject(REFUSED);
      await expect(store.length()).rejects.toMatchObject(REFUSED);
      expect(await new Promise((resolve) => store.touch("s", sessionOf({}, 600_000), resolve))).toBeNull();
      expect(store.clusterStats).toMatchObject({ refusals: 5, failedTouches: 1 });
      expect(await store.health()).toMatchObject({ redis: false, outageMs: expect.any(Number) });
      expect(errors).toContainEqual(expect.objectContaining(REFUSED));
      if (how === "killed") await redis.restart();
      else await redis.resume();
      await eventually(() => !isAway(store));
      // A pool's other connections may be back later, and each operation waits for one only for TIMEOUT_MS.
      await eventually(() => store.set("s", sessionOf({ v: 2 })).then(() => true));
      expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 2 });
      await eventually(() => store.clusterStats.state === "live");
      expect(name).toBeTruthy();
    },
  );

  test.each(["killed", "stopped"])("Redis %s: only the first of several operations waits", async (how) => {
    const redis = await ownRedis();
    const { store } = await openStore(create, redis.url);
    await whenLive(store);
    if (how === "killed") await redis.kill();
    else await redis.pause();
    const codes: unknown[] = [];
    for (const attempt of ["first", "second"])
      await store.set(attempt, sessionOf()).catch(({ code }) => codes.push(code));
    expect(codes).toEqual([expect.stringMatching(/^ERR_SESSION_/), "ERR_SESSION_UNAVAILABLE"]);
  });

  test("stalled: what did not fit into the connection and has failed is not executed later", async () => {
    const redis = await ownRedis();
    const { store, client } = await openStore(create, redis.url, { cluster: false, localCache: false });
    const text = "x".repeat(MEGABYTE);
    const direct = await directClient({ url: redis.url });
    await redis.pause();
    const writes = Array.from({ length: WRITERS }, (_, i) => store.set(`s${i}`, sessionOf({ text })));
    const outcomes = await Promise.allSettled(writes);
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    await redis.resume();
    // Behind everything that the client may still send.
    await eventually(() => store.get("nobody").then(() => true));
    if (!("execute" in client)) await client.ping();
    const executed = await direct.exists(Array.from({ length: WRITERS }, (_, i) => `${store.prefix}s${i}`));
    expect(executed).toBeLessThan(WRITERS);
    expect(await direct.exists(`${store.prefix}s${WRITERS - 1}`)).toBe(0);
    await eventually(() => store.set("after", sessionOf({ v: 1 })).then(() => true));
    expect(valuesOf(await eventually(() => store.get("after")))).toEqual({ v: 1 });
  });

  test("a half-open connection is replaced, and the application's use of it goes on", async () => {
    const redis = await ownRedis();
    const proxy = await startProxy(redis.url);
    onTestFinished(() => proxy.close());
    const { store, client } = await openStore(create, proxy.url, {
      cluster: { channel: newSpace().channel, subscriber: createClient({ url: redis.url }), ...SHORT_LEASE },
    });
    await whenLive(store);
    const ready: unknown[] = [];
    if (!name.includes("pool")) client.on("ready", () => ready.push(1));
    const reasons: string[] = [];
    store.on("suspect", (reason) => reasons.push(reason));
    const accepted = proxy.accepted;
    proxy.halfOpen();
    await eventually(() => store.clusterStats.reconnects > 0);
    await eventually(() => store.clusterStats.state === "live");
    await eventually(() => store.set("s", sessionOf({ v: 1 })).then(() => true));
    expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 1 });
    expect(await eventually(() => client.ping().catch(() => ""))).toBe("PONG");
    expect(proxy.accepted).toBeGreaterThan(accepted);
    expect(reasons.length).toBeGreaterThan(0);
  });
});

/** A primary, and an address that leads to it, until `failOver` makes it a replica; then only new connections lead to the next one. */
async function startMovingAddress() {
  const start = () => startRedis({ own: true, args: ["--repl-diskless-sync-delay", "0"] });
  const [former, next] = [await start(), await start()];
  onTestFinished(() => Promise.all([former.stop(), next.stop()]).then(() => {}));
  const [demoted, promoted] = [
    await directClient({ url: former.url }),
    await directClient({ url: next.url }),
  ];
  const follow = (client: Client, url: string) =>
    client.sendCommand(["REPLICAOF", "127.0.0.1", new URL(url).port]);
  const proxy = await startProxy(former.url);
  onTestFinished(() => proxy.close());
  /** @param url whom the former primary follows */
  const failOver = async (url: string = next.url) => {
    await follow(promoted, former.url);
    await eventually(async () => /master_link_status:up/.test(String(await promoted.info("replication"))));
    // Nobody closes a connection.
    await promoted.sendCommand(["REPLICAOF", "NO", "ONE"]);
    proxy.leadNewTo(next.url);
    await follow(demoted, url);
  };
  return { url: proxy.url, promoted, failOver };
}

const succeeds = (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  );

test.each(Object.entries(clients))(
  "an address that follows the primary: %s that a failover leaves at the replica is led to the primary",
  async (_, create) => {
    const { url, promoted, failOver } = await startMovingAddress();
    const { store } = await openStore(create, url);
    await whenLive(store);
    await store.set("s", sessionOf({ v: 1 }));
    await failOver();
    await eventually(() => succeeds(store.set("s", sessionOf({ v: 2 }))));
    expect(store.clusterStats.reconnects).toBeGreaterThan(0);
    await whenLive(store);
    expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
    expect(await promoted.keys("*")).toHaveLength(1);
  },
);

test.each([
  ["node-redis 6", createClientPool as unknown as typeof v5.createClientPool],
  ["node-redis 5", v5.createClientPool],
])(
  "an address that follows the primary: no connection of a pool reads at the replica any more, %s",
  async (_, createPool) => {
    const { url, failOver } = await startMovingAddress();
    const size = 8;
    const create = () => createPool({ url }, { minimum: size, maximum: size }) as unknown as AnyClient;
    // No heartbeat, so that only one connection writes.
    const { store } = await openStore(create, url, { cluster: false, localCache: false });
    await store.set("s", sessionOf({ v: 1 }));
    await Promise.all(Array.from({ length: size }, () => store.get("s")));
    // What is written now never reaches the replica.
    const nobody = await ownRedis();
    await nobody.kill();
    await failOver(nobody.url);
    expect(await succeeds(store.set("s", sessionOf({ v: 2 })))).toBe(false);
    await eventually(() => store.clusterStats.reconnects > 0);
    await eventually(() => succeeds(store.set("s", sessionOf({ v: 3 }))));
    for (let i = 0; i < 2 * size; i++) expect(valuesOf(await store.get("s"))).toEqual({ v: 3 });
  },
);

test("an address that follows the primary: a connection that was opened again since its write was refused stays", async () => {
  const { url } = await ownRedis();
  const [again, left] = [await directClient({ url }), await directClient({ url })];
  const openedAt = new Map<object, number>();
  const replaced: object[] = [];
  const demoted = new Demoted(again, {
    absentKey: "absent",
    openedAt: (connection) => openedAt.get(connection),
    replace: (connection) => replaced.push(connection),
  });
  for (const connection of [again, left]) demoted.add(connection as Connection);
  openedAt.set(again, performance.now());
  demoted.check(() => {});
  await eventually(() => replaced.length > 0);
  expect(replaced).toEqual([left]);
});

test("both connections half-open: both are replaced", async () => {
  const { store, data, bus } = await startNode(newSpace(), {
    cluster: SHORT_LEASE,
    store: { commandTimeoutMs: TIMEOUT_MS },
  });
  data.halfOpen();
  bus.halfOpen();
  await eventually(() => store.clusterStats.reconnects > 0);
  await eventually(() => store.clusterStats.state === "live");
  await eventually(() => store.set("s", sessionOf({ v: 1 })).then(() => true));
  expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 1 });
});

test("an event loop that is blocked for longer than the timeout is no outage", async () => {
  const redis = await ownRedis();
  const { store } = await openStore(clients["node-redis 6"] as (url: string) => AnyClient, redis.url);
  await whenLive(store);
  const errors: Error[] = [];
  store.on("clusterError", (error) => errors.push(error));
  for (let i = 0; i < 3; i++) {
    await store.set("s", sessionOf({ v: i }));
    store.evictFromCache("s");
    const reading = store.get("s");
    // In a microtask it gets to node-redis, which writes it in an immediate of its own: the next one is behind that.
    for (let turns = 0; turns < 20; turns++) await undefined;
    await new Promise(setImmediate);
    const blockedUntil = performance.now() + 1.2 * TIMEOUT_MS;
    while (performance.now() < blockedUntil);
    // Behind what the blocked time has made due.
    await new Promise((resolve) => setTimeout(resolve));
    await new Promise(setImmediate);
    await store.set("s", sessionOf());
    expect(valuesOf(await reading)).toEqual({ v: i });
  }
  expect(store.clusterStats.refusals).toBe(0);
  expect(errors).not.toContainEqual(expect.objectContaining(REFUSED));
});

test("writes that Redis holds back do not make a connection half-open", async () => {
  const redis = await ownRedis();
  const { store } = await openStore(clients["node-redis 6"] as (url: string) => AnyClient, redis.url);
  await whenLive(store);
  const direct = await directClient({ url: redis.url });
  const connections = async () =>
    Number(/total_connections_received:(\d+)/.exec(await direct.info("stats"))?.[1]);
  await direct.sendCommand(["CLIENT", "PAUSE", "60000", "WRITE"]);
  const before = await connections();
  const writing = store.set("s", sessionOf({ v: 1 })).catch(() => {});
  // The store asks on new connections.
  await eventually(async () => (await connections()) >= before + 2);
  await direct.sendCommand(["CLIENT", "UNPAUSE"]);
  await writing;
  expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 1 });
  expect(store.clusterStats.reconnects).toBe(0);
});

test("a Redis that is slow, or that refuses commands, is not away", async () => {
  const redis = await ownRedis();
  const { store } = await openStore(clients["node-redis 6"] as (url: string) => AnyClient, redis.url);
  await whenLive(store);
  const direct = await directClient({ url: redis.url });
  await store.set("s", sessionOf({ v: 1 }));
  await direct.configSet("maxmemory", "1");
  const begunAt = performance.now();
  await eventually(async () => {
    await expect(store.set("s", sessionOf())).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
    return performance.now() > begunAt + 3 * TIMEOUT_MS;
  });
  expect(isAway(store)).toBe(false);
  expect(store.clusterStats.refusals).toBe(0);
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
});

/** A Redis that takes a few seconds to load its data. @param afterwards once an operation has been refused because of that */
async function withLoadingRedis(
  create: (url: string) => AnyClient,
  afterwards: (redis: RedisServer, store: ClusteredRedisStore, loading: Promise<unknown>) => Promise<void>,
) {
  const redis = await startRedis({
    own: true,
    args: ["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"],
  });
  onTestFinished(() => redis.stop());
  const { store } = await openStore(create, redis.url);
  await whenLive(store);
  await store.set("s", sessionOf({ v: 1 }));
  const direct = await directClient({ url: redis.url });
  const keys = 5 * TIMEOUT_MS;
  await direct.sendCommand(["DEBUG", "POPULATE", String(keys), "other", "100"]);
  // In microseconds for each key.
  await direct.configSet("key-load-delay", "1000");
  const loading = direct.sendCommand(["DEBUG", "RELOAD"]);
  loading.catch(() => {});
  expect(await refusalOf(store)).toMatch(/Redis has not answered since .*: LOADING/);
  await afterwards(redis, store, loading);
}

/** Why a write fails once an outage is known. */
async function refusalOf(store: ClusteredRedisStore): Promise<string> {
  const error = await eventually(() =>
    store.set("s", sessionOf({ v: 2 })).then(
      () => undefined,
      (error) => (error.code === REFUSED.code ? error : undefined),
    ),
  );
  return error.message;
}

test("a Redis that loads its data is away, and the error says so", async () => {
  const create = clients["node-redis 6"] as (url: string) => AnyClient;
  await withLoadingRedis(create, async (_, store, loading) => {
    await loading;
    // What was sent before Redis began to load has been written.
    const loaded = valuesOf(await eventually(() => store.get("s").catch(() => null)));
    expect([{ v: 1 }, { v: 2 }]).toContainEqual(loaded);
    await eventually(() => store.set("s", sessionOf({ v: 3 })).then(() => true));
  });
});

test.each([
  ["killed", "a pool of node-redis 6"],
  ["killed", "node-redis 6"],
  ["stopped", "node-redis 6"],
])("a Redis that is %s while it loads its data does not load it any more: %s", async (how, name) => {
  await withLoadingRedis(clients[name] as (url: string) => AnyClient, async (redis, store) => {
    if (how === "killed") await redis.kill();
    else await redis.pause();
    await eventually(async () => !/LOADING/.test(await refusalOf(store)));
    if (how === "stopped") await redis.resume();
  });
});

test("operations that are unanswered are bounded in number and bytes; what is refused is never executed", async () => {
  const redis = await ownRedis();
  const { store } = await openStore(clients["node-redis 6"] as (url: string) => AnyClient, redis.url, {
    commandTimeoutMs: 60_000,
    cluster: false,
    localCache: false,
  });
  const direct = await directClient({ url: redis.url });
  const text = "x".repeat(10_000);
  await redis.pause();
  const writes = Array.from({ length: 3_000 }, (_, i) => store.set(`w${i}`, sessionOf({ text })));
  const { refusals } = store.clusterStats;
  expect(refusals).toBeGreaterThan(1_000);
  expect(refusals).toBeLessThan(2_000);
  const reads = Array.from({ length: 10_000 }, (_, i) => store.get(`r${i}`));
  expect(store.clusterStats.refusals).toBe(refusals + 3_000 - refusals);
  await redis.resume();
  const [written, read] = await Promise.all([Promise.allSettled(writes), Promise.allSettled(reads)]);
  for (const outcome of [...written, ...read]) {
    if (outcome.status === "rejected") expect(outcome.reason).toMatchObject(REFUSED);
  }
  expect(await direct.dbSize()).toBe(3_000 - refusals);
  await store.set("w2999", sessionOf({ v: 1 }));
});

test("what is refused is published as a failed operation, writes as well", async () => {
  const redis = await ownRedis();
  const create = clients["node-redis 6"] as (url: string) => AnyClient;
  const { store } = await openStore(create, redis.url, { cluster: { nodeId: "away", ...SHORT_LEASE } });
  await whenLive(store);
  await redis.kill();
  await eventually(() => isAway(store));
  const failed: string[] = [];
  const onError = (message: unknown) => {
    const { nodeId, operation, error } = message as StoreOperation;
    if (nodeId === "away") failed.push(`${operation}: ${error?.message}`);
  };
  const channel = tracingChannel<unknown, object>("clustered-redis-store:operation");
  channel.error.subscribe(onError);
  onTestFinished(() => {
    channel.error.unsubscribe(onError);
  });
  await expect(store.get("s")).rejects.toMatchObject(REFUSED);
  await expect(store.set("s", sessionOf())).rejects.toMatchObject(REFUSED);
  await store.touch("s", sessionOf());
  await expect(store.destroy("s")).rejects.toMatchObject(REFUSED);
  await eventually(() => failed.length >= 4);
  const reason = "ERR_SESSION_UNAVAILABLE";
  expect(failed).toEqual([`get: ${reason}`, `set: ${reason}`, `touch: ${reason}`, `destroy: ${reason}`]);
});

test("one write that is larger than the limit may run alone, beside logouts and reads", async () => {
  const { store } = await startNode(newSpace(), { store: { localCache: false } });
  const text = "x".repeat(20 * MEGABYTE);
  await store.set("other", sessionOf({ v: 1 }));
  const writing = store.set("s", sessionOf({ text }));
  await expect(store.set("another", sessionOf({ v: 1 }))).rejects.toMatchObject(REFUSED);
  const reading = store.get("other");
  await Promise.all([store.destroy("other"), writing]);
  expect(valuesOf(await reading)).toEqual({ v: 1 });
  expect(await store.get("other")).toBeNull();
  expect(valuesOf(await store.get("s"))).toEqual({ text });
});
