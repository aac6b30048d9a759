import { randomUUID } from "node:crypto";
import { RedisStore as ConnectRedis } from "connect-redis";
import { createClient, createCluster } from "redis";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import {
  type ClusterCoordinator,
  ClusteredRedisStore,
  type ClusterOptions,
  type SessionStoreError,
} from "../../lib/index.ts";
import { encodeMessage } from "../../lib/invalidation/messages.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import type { FaultProxy } from "../support/fault-proxy.ts";
import {
  type Client,
  cacheIn,
  directClient,
  LONG_LEASE,
  loadAsRequest,
  newSpace,
  ownRedis,
  recordEvents,
  type Space,
  sessionOf,
  startNode,
  valuesOf,
  whenLive,
} from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import * as v5 from "../support/redis-v5.ts";
import { type AnyClient, openStore } from "../topologies/stores.ts";

const cluster: ClusterOptions = { tracking: true };

/** The store works as without tracking: own writes are cached, and other stores' writes invalidate. */
async function useUntracked(store: ClusteredRedisStore, space: Space): Promise<void> {
  expect(await store.health()).toMatchObject({ tracking: false, subscribed: true });
  expect(store.clusterStats.tracking).toBe(0);
  await eventually(async () => {
    await store.set("s", sessionOf({ v: 1 }));
    return store.localCache.peek("s") !== undefined;
  });
  const other = await startNode(space);
  const invalidated = nextEvent(store, "invalidate");
  await other.store.set("s", sessionOf({ v: 2 }));
  expect((await invalidated)[1]).toBe(other.store.coordinator?.nodeId);
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
}

/** A store whose errors are recorded from its first moment on. */
async function openRecorded(client: Client, space: Space, options: ClusterOptions = {}) {
  client.on("error", () => {});
  await client.connect();
  const store = new ClusteredRedisStore({
    client,
    prefix: space.prefix,
    cluster: { channel: space.channel, ...LONG_LEASE, ...cluster, ...options },
  });
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  const errors: SessionStoreError[] = [];
  store.on("clusterError", (error) => errors.push(error as SessionStoreError));
  await whenLive(store);
  return { store, errors };
}

const versions = {
  "node-redis 6": (url: string) => createClient({ url }),
  "node-redis 6, RESP 2": (url: string) => createClient({ url, RESP: 2 }),
  "node-redis 5": (url: string) => v5.createClient({ url }),
  "a type mapping to Buffers": (url: string) =>
    createClient({ url, commandOptions: { typeMapping: { [36]: Buffer } } }),
  "a keyPrefix": (url: string) => createClient({ url, keyPrefix: `${randomUUID()}:` }),
  "a database": (url: string) => createClient({ url, database: 3 }),
};

/** What changes a session behind the stores' backs. */
const changes: Record<string, (direct: Client, key: string) => Promise<unknown>> = {
  SET: (direct, key) => direct.set(key, JSON.stringify(sessionOf({ v: 2 }))),
  DEL: (direct, key) => direct.del(key),
  RENAME: (direct, key) => direct.rename(key, `${key}:other`),
  "an expiry that passes": (direct, key) => direct.pExpire(key, 5),
};

describe.each(Object.entries(versions))("tracking with %s", (_, create) => {
  for (const [name, change] of Object.entries(changes)) {
    test(`${name} invalidates`, async () => {
      const space = newSpace();
      const client = create(inject("redisUrl")) as unknown as Client;
      const { store, errors } = await openRecorded(client, space);
      expect(errors).toEqual([]);
      expect(await store.health()).toMatchObject({ tracking: true });
      await store.set("s", sessionOf({ v: 1 }));
      await cacheIn(store, "s");
      const { database = 0, keyPrefix = "" } = client.options ?? {};
      const direct = await directClient({ database });
      const invalidated = nextEvent(store, "invalidate");
      await change(direct, `${String(keyPrefix)}${space.prefix}s`);
      expect(await invalidated).toEqual(["s", ""]);
      if (name === "an expiry that passes") await eventually(async () => (await store.get("s")) === null);
      else expect(valuesOf(await store.get("s"))).toEqual(name === "SET" ? { v: 2 } : null);
    });
  }
});

test("an eviction invalidates, and FLUSHALL flushes", async () => {
  const redis = await ownRedis();
  const space = newSpace();
  const node = await startNode(space, { url: redis.url, cluster });
  const { store } = node;
  const direct = await directClient({ url: redis.url });
  await store.set("s", sessionOf({ v: 1 }));
  await cacheIn(node.store, "s");
  const invalidated = nextEvent(store, "invalidate");
  await direct.configSet({ "maxmemory-policy": "allkeys-lru", maxmemory: "1" });
  expect(await invalidated).toEqual(["s", ""]);
  expect(await store.get("s")).toBeNull();
  await direct.configSet({ maxmemory: "0" });
  await store.set("s", sessionOf({ v: 2 }));
  await cacheIn(node.store, "s");
  const flushed = nextEvent(store, "flush");
  await direct.flushAll();
  expect(await flushed).toEqual(["Redis was flushed"]);
  expect(await store.get("s")).toBeNull();
});

test("an eviction that a read of this very process causes invalidates, too", async () => {
  const redis = await ownRedis();
  const space = newSpace();
  // No other command may come before the read.
  const lease = { heartbeatMs: 60_000, leaseMs: 120_000 };
  const node = await startNode(space, { url: redis.url, cluster: { ...cluster, ...lease } });
  const direct = await directClient({ url: redis.url });
  await node.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(node.store, "s");
  await direct.configSet({ maxmemory: "1", "maxmemory-policy": "noeviction" });
  await direct.configSet("maxmemory-policy", "allkeys-lru");
  expect(await node.store.get("other")).toBeNull();
  await eventually(() => node.store.localCache.peek("s") === undefined);
  expect(await direct.exists(`${space.prefix}s`)).toBe(0);
});

test("a process with connect-redis: what it writes, extends and deletes is seen", async () => {
  const space = newSpace();
  const node = await startNode(space, { cluster });
  const { store } = node;
  const theirs = new ConnectRedis({ client: await directClient(), prefix: space.prefix });
  await theirs.set("s", sessionOf({ v: 1 }));
  await cacheIn(node.store, "s");
  for (const change of [
    () => theirs.set("s", sessionOf({ v: 2 })),
    () => theirs.touch("s", sessionOf({}, 600_000)),
    () => theirs.destroy("s"),
  ]) {
    await cacheIn(node.store, "s");
    const invalidated = nextEvent(store, "invalidate");
    await change();
    expect(await invalidated).toEqual(["s", ""]);
  }
  expect(await store.get("s")).toBeNull();
});

test("what another store writes emits one event, with its label", async () => {
  const space = newSpace();
  const [a, b] = [await startNode(space, { cluster }), await startNode(space, { cluster })];
  const events = recordEvents(a.store, ["invalidate", "destroyed"]);
  const from = b.store.coordinator?.nodeId;
  await b.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(a.store, "s");
  await b.store.set("s", sessionOf({ v: 2 }));
  await eventually(() => events.length === 1);
  await cacheIn(a.store, "s");
  await b.store.destroy("s");
  await eventually(() => events.length === 3);
  // What is reported besides arrives before a heartbeat that is sent from now on.
  const now = performance.now();
  await eventually(() => (a.store.coordinator?.leaseAgeMs ?? Infinity) < performance.now() - now);
  expect(events).toEqual([
    { name: "invalidate", args: ["s", from] },
    { name: "invalidate", args: ["s", from] },
    { name: "destroyed", args: ["s", from, "destroy"] },
  ]);
});

test("what is reported between a heartbeat's return and its reply emits one event, with the writer's label", async () => {
  const space = newSpace();
  const { store, data, bus } = await startNode(space, { cluster });
  const direct = await directClient();
  const key = `${space.prefix}s`;
  await direct.set(key, JSON.stringify(sessionOf({ v: 1 })));
  await cacheIn(store, "s");
  const { instanceId } = store.coordinator as ClusterCoordinator;
  const publish = async (channel: string, message: string) => {
    const { messagesReceived } = store.clusterStats;
    await direct.publish(channel, message);
    await eventually(() => store.clusterStats.messagesReceived > messagesReceived);
  };
  // All earlier heartbeats have returned when the message does.
  data.hold("toServer");
  await data.seen("toServer", `${space.channel}:${instanceId}`);
  await publish(space.channel, "not valid");
  const provenAt = () => performance.now() - (store.coordinator?.leaseAgeMs ?? Number.NaN);
  const before = provenAt();
  const invalidations = recordEvents(store, ["invalidate"]);
  // One heartbeat is executed, and none after it.
  data.hold("toClient");
  const returned = bus.seen("toClient", `${space.channel}:${instanceId}`);
  data.release("toServer");
  data.hold("toServer");
  await returned;
  // A deletion by another store, the two parts of which arrive one by one.
  await direct.del(key);
  await eventually(() => store.localCache.peek("s") === undefined);
  data.release("toClient");
  await eventually(() => provenAt() > before + 1);
  const sender = { instanceId: randomUUID(), sequence: 1, nodeId: "other", sentAt: 0 };
  const deleted = {
    type: "SessionDeleted",
    ...sender,
    prefix: space.prefix,
    sids: ["s"],
    reason: "destroy",
  } as const;
  await publish(space.channel, encodeMessage(deleted));
  expect(invalidations).toEqual([{ name: "invalidate", args: ["s", "other"] }]);
});

test("a process's own writes fill nothing and emit nothing; its own touch drops the copy", async () => {
  const space = newSpace();
  const node = await startNode(space, { cluster, store: { touchAfterMs: 0 } });
  const { store } = node;
  const events = recordEvents(store, ["invalidate"]);
  await store.set("s", sessionOf({ v: 1 }));
  expect(store.localCache.size).toBe(0);
  await cacheIn(node.store, "s");
  await store.set("s", sessionOf({ v: 2 }));
  expect(store.localCache.size).toBe(0);
  await cacheIn(node.store, "s");
  expect(events).toEqual([]);
  await store.touch("s", await loadAsRequest(store, "s"));
  await eventually(() => store.localCache.size === 0);
  // An event, too, unless the new expiry is that of the cached copy to the millisecond: the touch itself drops it then.
  for (const event of events) expect(event).toEqual({ name: "invalidate", args: ["s", ""] });
});

test("a value that is too long for the subscriber's connection is not cached", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { cluster });
  await store.set("s", sessionOf({ text: "x".repeat(100_000) }));
  for (let i = 0; i < 3; i++) expect(valuesOf(await store.get("s"))).toEqual({ text: "x".repeat(100_000) });
  expect(store.localCache.size).toBe(0);
});

test("a change that is reported while a reply is being parsed: the reply is not cached", async () => {
  const space = newSpace();
  let parsing: (() => void) | undefined;
  const parse = async (text: string) => {
    const session = JSON.parse(text);
    if (session.v === 1) {
      await new Promise<void>((resolve) => {
        parsing = resolve;
      });
    }
    return session;
  };
  const node = await startNode(space, {
    cluster,
    store: { serializer: { parse, stringify: JSON.stringify } },
  });
  const direct = await directClient();
  const write = (sid: string, v: number) =>
    direct.set(`${space.prefix}${sid}`, JSON.stringify(sessionOf({ v })));
  await write("s", 1);
  await write("mark", 2);
  await cacheIn(node.store, "mark");
  const reading = node.store.get("s");
  await eventually(() => parsing !== undefined);
  const marked = nextEvent(node.store, "invalidate");
  await write("s", 2);
  await write("mark", 3);
  // What was reported before has been reported.
  expect(await marked).toEqual(["mark", ""]);
  parsing?.();
  expect(valuesOf(await reading)).toEqual({ v: 1 });
  expect(valuesOf(await node.store.get("s"))).toEqual({ v: 2 });
});

test("while the subscriber's connection is stalled, the client's reads are not cached", async () => {
  const space = newSpace();
  const node = await startNode(space, { cluster });
  await node.store.set("s", sessionOf({ v: 1 }));
  node.bus.hold("toClient");
  expect(valuesOf(await node.store.get("s"))).toEqual({ v: 1 });
  expect(node.store.localCache.size).toBe(0);
  node.bus.pass();
  await cacheIn(node.store, "s");
});

test("the proof leaves no key, and is repeated on each connection", async () => {
  const space = newSpace();
  const direct = await directClient();
  const seen: string[] = [];
  const monitor = await directClient();
  await monitor.monitor((line) => {
    if (String(line).includes(`"${space.prefix}:tracking:`)) seen.push(String(line));
  });
  const node = await startNode(space, { cluster });
  await eventually(() => seen.length === 5);
  expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
  const live = nextEvent(node.store, "live");
  node.bus.cut();
  await live;
  await eventually(() => seen.length === 10);
  expect(node.store.coordinator?.tracking).toBe(true);
});

test("FLUSHALL while a connection is examined: it is reported instead of the key, and the connection is tracked", async () => {
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  let examined: Promise<void> | undefined;
  const first = (data: FaultProxy) => {
    examined = data.seen("toServer", ":tracking:");
    data.hold("toServer");
  };
  const node = await startNode(newSpace(), { url, cluster, live: false, first });
  await examined;
  await direct.flushAll();
  node.data.release("toServer");
  await whenLive(node.store);
  expect(node.store.coordinator?.tracking).toBe(true);
});

test("without the option nothing is tracked", async () => {
  // Other tests track on the server that they share.
  const redis = await ownRedis();
  const { store } = await startNode(newSpace(), { url: redis.url });
  expect((await store.health()).tracking).toBeNull();
  expect(store.clusterStats.tracking).toBeNull();
  const direct = await directClient({ url: redis.url });
  const list = String(await direct.sendCommand(["CLIENT", "LIST"]));
  const flagsOf = (line: string) => /flags=(\w+)/.exec(line)?.[1] ?? "";
  expect(
    list
      .split("\n")
      .map(flagsOf)
      .filter((flags) => flags.includes("t")),
  ).toEqual([]);
});

describe("where it is not supported, the store works as without, and says so once", () => {
  test("the ACL denies it", async () => {
    const space = newSpace();
    const direct = await directClient();
    const [username, password] = [`user-${randomUUID()}`, randomUUID()];
    const rights = ["~*", "&*", "+@all", "-client|tracking"];
    await direct.sendCommand(["ACL", "SETUSER", username, "reset", "on", `>${password}`, ...rights]);
    onTestFinished(() => direct.sendCommand(["ACL", "DELUSER", username]).then(() => {}));
    const client = createClient({ url: inject("redisUrl"), username, password }) as unknown as Client;
    const { store, errors } = await openRecorded(client, space);
    await useUntracked(store, space);
    expect(errors.map(({ code }) => code)).toEqual(["ERR_TRACKING"]);
    expect(errors[0]?.message).toContain("(needed: +client|tracking)");
    // Again when the connection is opened again, but said once; and it is in use as soon as it may be.
    const killSubscriber = async () => {
      const live = nextEvent(store, "live");
      const list = String(await direct.sendCommand(["CLIENT", "LIST"]));
      for (const line of list.split("\n")) {
        const isSubscriber = line.includes(`user=${username} `) && !line.includes(" sub=0 ");
        const id = /\bid=(\d+)/.exec(line)?.[1];
        if (isSubscriber && id) await direct.sendCommand(["CLIENT", "KILL", "ID", id]);
      }
      await live;
    };
    await killSubscriber();
    expect(errors.filter(({ code }) => code === "ERR_TRACKING")).toHaveLength(1);
    await direct.sendCommand(["ACL", "SETUSER", username, "+client|tracking"]);
    await killSubscriber();
    expect(await store.health()).toMatchObject({ tracking: true });
  });

  test("Redis refuses RESP 3 for a while: it is in use as soon as it may be, too", async () => {
    const redis = await ownRedis();
    const direct = await directClient({ url: redis.url });
    const client = createClient({ url: redis.url }) as unknown as Client;
    const { store, errors } = await openRecorded(client, newSpace());
    const killSubscriber = () => direct.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
    // Connections that are open stay open.
    await direct.configSet("requirepass", "secret");
    await killSubscriber();
    await eventually(() => errors.filter(({ message }) => message.includes("NOAUTH HELLO")).length > 1);
    const live = nextEvent(store, "live");
    await direct.configSet("requirepass", "");
    await live;
    const liveAgain = nextEvent(store, "live");
    await killSubscriber();
    await liveAgain;
    expect(await store.health()).toMatchObject({ tracking: true });
  });

  /** Subscribers that report nothing, as those of node-redis before 5.9, or that do not read what the client reads. */
  const others = {
    "a subscriber that reports nothing": [{ RESP: 3 }, /reports no changes/],
    "a subscriber that speaks RESP 2": [{ RESP: 2 }, /HELLO|reports no changes/i],
    "a subscriber of another database": [
      { RESP: 3, emitInvalidate: true, database: 7 },
      /does not read what the client reads/,
    ],
  } as const;

  test.each(Object.entries(others))("%s", async (_, [options, why]) => {
    const space = newSpace();
    const subscriber = () =>
      createClient({ url: inject("redisUrl"), ...options, socket: { reconnectStrategy: false } });
    const client = createClient({ url: inject("redisUrl") }) as unknown as Client;
    const { store, errors } = await openRecorded(client, space, { subscriber });
    await useUntracked(store, space);
    expect(errors.map(({ code }) => code)).toEqual(["ERR_TRACKING"]);
    expect(errors[0]?.message).toMatch(why);
  });
});

test("a function may return a tracked subscriber", async () => {
  const space = newSpace();
  const subscriber = () =>
    createClient({
      url: inject("redisUrl"),
      ...{ RESP: 3, emitInvalidate: true },
      socket: { reconnectStrategy: false },
    });
  const { store } = await startNode(space, { cluster: { ...cluster, subscriber } });
  expect(await store.health()).toMatchObject({ tracking: true });
});

test("in a Cluster, each primary reports its keys", async () => {
  const redis = await startCluster();
  onTestFinished(() => redis.stop());
  const { rootNodes } = redis;
  const clients = [createCluster({ rootNodes }), v5.createCluster({ rootNodes })];
  for (const client of clients) {
    const space = newSpace();
    const { store } = await openStore(() => client as AnyClient, space, { cluster });
    expect(await store.health()).toMatchObject({ tracking: true });
    const direct = createCluster({ rootNodes });
    await direct.connect();
    onTestFinished(() => direct.destroy());
    for (let i = 0; i < 12; i++) {
      await store.set(`s${i}`, sessionOf({ v: 1 }));
      await cacheIn(store, `s${i}`);
      const invalidated = nextEvent(store, "invalidate");
      await direct.set(`${space.prefix}s${i}`, JSON.stringify(sessionOf({ v: 2 })));
      expect(await invalidated).toEqual([`s${i}`, ""]);
      expect(valuesOf(await store.get(`s${i}`))).toEqual({ v: 2 });
    }
  }
});

test("HELLO returns the version, also on a connection that is subscribed", async () => {
  const client = await directClient({ url: inject("redisUrl"), RESP: 3 });
  await client.subscribe("channel", () => {});
  const { version } = (await client.sendCommand(["HELLO"])) as unknown as { version: string };
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
});
