import { createClient, createSentinel } from "redis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore, type ClusterOptions } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { startProxy } from "../support/fault-proxy.ts";
import { indexBy } from "../support/indexed.ts";
import { cacheIn, newSpace, recordEvents, refusalWhenReady, sessionOf, valuesOf } from "../support/node.ts";
import { type SentinelSet, startSentinels } from "../support/redis/sentinel.ts";
import * as v5 from "../support/redis-v5.ts";
import { useEverything, useIndex, useMerge } from "./contract.ts";
import { surviveFullMemory } from "./full-memory.ts";
import { openPast, openTwo, surviveKill } from "./kill.ts";
import { type AnyClient, LEASE, openStore } from "./stores.ts";

let redis: SentinelSet;
beforeAll(async () => {
  redis = await startSentinels();
});
afterAll(() => redis?.stop());

const where = () => ({ name: redis.name, sentinelRootNodes: redis.sentinelRootNodes });

/** Sentinels take their time until they fail over once more, so a test that has them do it has a set to itself. */
async function startOwn(): Promise<SentinelSet> {
  const own = await startSentinels();
  const shared = redis;
  redis = own;
  onTestFinished(async () => {
    redis = shared;
    await own.stop();
  });
  return own;
}

/** node-redis 5 cannot duplicate a Sentinel client. */
const subscribing = (name: string): { cluster?: ClusterOptions } =>
  name.includes("5") ? { cluster: { subscriber: versions["node-redis 5"] } } : {};

/** As docs/guides/topologies.md demands it of node-redis 5, which otherwise waits forever for a primary that died. */
const reconnectStrategy = (retries: number) =>
  retries < 3 ? 200 : new Error("No connection to the primary; the Sentinels are asked again");
const whereFor5 = () => ({ ...where(), nodeClientOptions: { socket: { reconnectStrategy } } });

const versions = {
  "node-redis 6": () => createSentinel(where()) as AnyClient,
  "node-redis 5": () => v5.createSentinel(whereFor5()) as unknown as AnyClient,
};

const clients: Record<string, () => AnyClient> = {
  ...versions,
  "node-redis 6, RESP2 and several connections": () =>
    createSentinel({ ...where(), RESP: 2, masterPoolSize: 4 }),
  "node-redis 6, replicaPoolSize": () => createSentinel({ ...where(), replicaPoolSize: 1 }),
  "node-redis 5, replicaPoolSize": () =>
    v5.createSentinel({ ...whereFor5(), replicaPoolSize: 1 }) as unknown as AnyClient,
  "a keyPrefix and reserveClient": () =>
    createSentinel({ ...where(), keyPrefix: "app:", reserveClient: true }),
};

describe.each(Object.entries(clients))("a Sentinel client: %s", (name, create) => {
  test("works throughout, and with another store", async () => {
    const space = newSpace();
    const [{ store: a }, { store: b }] = [
      await openStore(create, space, subscribing(name)),
      await openStore(create, space, subscribing(name)),
    ];
    await useEverything(a, b);
  });
});

test("connections with a bounded queue: what they refuse is not written later", async () => {
  const nodeClientOptions = { commandsQueueMaxLength: 12 };
  const create = () => createSentinel({ ...where(), nodeClientOptions }) as AnyClient;
  const { store } = await openStore(create, newSpace());
  const sids = Array.from({ length: 40 }, (_, i) => `s${i}`);
  const outcomes = await Promise.allSettled(sids.map((sid) => store.set(sid, sessionOf())));
  const written = sids.filter((_, i) => outcomes[i]?.status === "fulfilled");
  await store.set("later", sessionOf());
  expect((await store.ids()).sort()).toEqual([...written, "later"].sort());
});

test("full memory: reads, touches, logouts and heartbeats continue", async () => {
  const { a, b } = await openTwo(versions["node-redis 6"], newSpace());
  const primary = await redis.primary();
  const limit = (bytes: string) => redis.run(primary, "CONFIG", "SET", "maxmemory", bytes);
  onTestFinished(async () => {
    await limit("0");
  });
  await surviveFullMemory(a, b, () => limit("1"));
});

test("merging, too", async () => {
  const space = newSpace();
  const create = versions["node-redis 6"];
  const options = { onConflict: "merge" } as const;
  await useMerge(
    (await openStore(create, space, options)).store,
    (await openStore(create, space, options)).store,
  );
});

test("the sessions of a user are found and deleted", async () => {
  const space = newSpace();
  const create = versions["node-redis 6"];
  await useIndex(
    (await openStore(create, space, { indexBy })).store,
    (await openStore(create, space, { indexBy })).store,
  );
});

test("reads go to the primary though replicaPoolSize is set: a replica may be behind the messages", async () => {
  const space = newSpace();
  const primary = await redis.primary();
  const replica = redis.servers.find((server) => server !== primary) as typeof primary;
  for (const name of ["node-redis 6, replicaPoolSize", "node-redis 5, replicaPoolSize"]) {
    const { store } = await openStore(clients[name] as () => AnyClient, space, {
      localCache: false,
      ...subscribing(name),
    });
    await store.set("s", sessionOf({ v: 1 }));
    await redis.run(replica, "CONFIG", "RESETSTAT");
    await redis.run(primary, "CONFIG", "RESETSTAT");
    for (let i = 0; i < 20; i++) await store.get("s");
    expect(await store.length()).toBe(1);
    expect(String(await redis.run(primary, "INFO", "commandstats"))).toMatch(/cmdstat_getrange:calls=2\d,/);
    expect(String(await redis.run(replica, "INFO", "commandstats"))).not.toMatch(/cmdstat_(getrange|scan):/);
  }
});

test("a subscriber that would not follow the primary is rejected", () => {
  const client = versions["node-redis 6"]();
  const subscriber = createClient();
  expect(() => new ClusteredRedisStore({ client, cluster: { subscriber } })).toThrow(
    "cluster.subscriber: expected a client of the same kind as client (sentinel), got a single client",
  );
});

test("a Sentinel client of node-redis 5 says in the constructor what else it needs", () => {
  const client = versions["node-redis 5"]();
  expect(() => new ClusteredRedisStore({ client })).toThrow(
    /^cluster.subscriber: a Sentinel client of node-redis 5 cannot/,
  );
});

test("a subscriber that is connected to another node than the client writes to is not used", async () => {
  const replica = redis.servers[
    (await redis.primary()) === redis.servers[0] ? 1 : 0
  ] as (typeof redis.servers)[0];
  const client = versions["node-redis 6"]();
  client.on("error", () => {});
  await client.connect();
  // It receives what the primary publishes, as long as it is connected to it.
  const subscriber = Object.assign(createSentinel(where()), {
    duplicate: () =>
      Object.assign(createClient({ url: replica.url }), {
        getSentinelNode() {},
        getMasterNode: () => ({ host: "127.0.0.1", port: 1 }),
      }),
  });
  const store = new ClusteredRedisStore({ client, cluster: { subscriber, subscribeTimeoutMs: 1_000 } });
  await refusalWhenReady(store, /follow different primaries/);
  await store.close();
  await client.destroy();
});

test("a subscriber that node-redis reconnects by itself may have missed messages: flush", async () => {
  const space = newSpace();
  for (const [name, create] of Object.entries(versions)) {
    const { store } = await openStore(create, space, {
      cluster: { ...LEASE, leaseMs: 60_000, ...subscribing(name).cluster },
    });
    await store.set("s", sessionOf({ v: 1 }));
    await cacheIn(store, "s");
    const flushed = nextEvent(store, "flush");
    const live = nextEvent(store, "live");
    await redis.run(await redis.primary(), "CLIENT", "KILL", "TYPE", "pubsub");
    await flushed;
    expect(store.localCache.size).toBe(0);
    await live;
  }
});

test("attempts to subscribe that take too long leave no subscription behind", async () => {
  const space = newSpace();
  const client = versions["node-redis 6"]();
  client.on("error", () => {});
  await client.connect();
  const { prefix, channel } = space;
  const store = new ClusteredRedisStore({ client, prefix, cluster: { channel, subscribeTimeoutMs: 1 } });
  const events = recordEvents(store, ["clusterError"]);
  await eventually(() => events.length >= 3);
  await store.close();
  await client.destroy();
  await eventually(async () => {
    const primary = await redis.primary();
    const [, subscribers] = (await redis.run(primary, "PUBSUB", "NUMSUB", channel)) as [string, number];
    return Number(subscribers) === 0;
  });
});

const creators = {
  "node-redis 6": createSentinel,
  "node-redis 5": v5.createSentinel as unknown as typeof createSentinel,
};

for (const [name, createSentinel] of Object.entries(creators)) {
  test(`${name}: what is executed, but not answered before its connection breaks, is not executed again`, async () => {
    const primary = await redis.primary();
    const proxy = await startProxy(primary.url);
    const [sentinel] = redis.sentinels as [(typeof redis.sentinels)[0]];
    // One of the Sentinels names the proxy as the primary of another set, and does not mind its faults.
    const proxied = name.replace(/\W/g, "-");
    const { hostname, port } = new URL(sentinel.url);
    const sentinelRootNodes = [{ host: hostname, port: Number(port) }];
    await redis.run(sentinel, "SENTINEL", "MONITOR", proxied, "127.0.0.1", String(proxy.port), "1");
    await redis.run(sentinel, "SENTINEL", "SET", proxied, "down-after-milliseconds", "600000");
    onTestFinished(async () => {
      await redis.run(sentinel, "SENTINEL", "REMOVE", proxied);
      await proxy.close();
    });
    const create = () => createSentinel({ name: proxied, sentinelRootNodes }) as AnyClient;
    const space = newSpace();
    const key = `${space.prefix}s`;
    const subscriber = name.includes("5") ? { subscriber: create } : {};
    const { store } = await openStore(create, space, { cluster: { leaseMs: 60_000, ...subscriber } });
    const held = () => redis.run(primary, "GET", key) as Promise<string | null>;
    const ofAnother = JSON.stringify(sessionOf({ v: "another's" }));
    const breakConnection = () => {
      proxy.cut();
      proxy.pass();
    };

    const writes: [call: () => Promise<unknown>, isDone: (text: string | null) => boolean][] = [
      [() => store.set("s", sessionOf({ v: 1 })), (text) => text?.includes('"v":1') ?? false],
      [() => store.destroy("s"), (text) => text === null],
    ];
    for (const [call, isDone] of writes) {
      // Redis then knows the script.
      await eventually(() => store.destroy("before").then(() => true));
      proxy.hold("toClient");
      const outcome = call().then(
        () => "done",
        (error: { code: string }) => error.code,
      );
      await eventually(async () => isDone(await held()));
      await redis.run(primary, "SET", key, ofAnother);
      breakConnection();
      expect(await outcome).toBe("ERR_SESSION_REDIS");
      expect(await held()).toBe(ofAnother);
    }

    await eventually(() => store.destroy("before").then(() => true));
    proxy.hold("toClient");
    const isSent = proxy.seen("toServer", key);
    const reading = store.get("s");
    await isSent;
    breakConnection();
    // A read is sent again.
    expect(valuesOf(await reading)).toEqual({ v: "another's" });
  });
}

for (const [name, create] of Object.entries(versions)) {
  test(`${name}: SENTINEL FAILOVER, without any reading or writing: flush, and live on the new primary`, async () => {
    const own = await startOwn();
    const space = newSpace();
    const { store } = await openStore(create, space, subscribing(name));
    const before = await own.primary();
    const events = recordEvents(store, ["suspect"]);
    await own.failOver();
    await eventually(() => events.length > 0);
    expect(store.clusterStats.flushes).toBeGreaterThan(0);
    await eventually(async () => {
      const now = await own.primary();
      const [, subscribers] = (await own.run(now, "PUBSUB", "NUMSUB", space.channel)) as [string, number];
      const { state } = store.clusterStats;
      expect({ isAnother: now !== before, subscribers: Number(subscribers), state }).toEqual({
        isAnother: true,
        subscribers: 1,
        state: "live",
      });
      return true;
    });
    await store.set("s", sessionOf({ v: 1 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  });

  test(`${name}: kill -9 of the primary under load: flush, live again, nothing stale, no call without an answer`, async () => {
    const own = await startOwn();
    const nodes = await openTwo(create, newSpace(), subscribing(name));
    await surviveKill(nodes, () => openPast(create, nodes, subscribing(name)), own.primary.bind(own));
  });

  test(`${name}: a write that was reported as failed is not executed by the next primary`, async () => {
    const own = await startOwn();
    const space = newSpace();
    const options = { commandTimeoutMs: 700, ...subscribing(name) };
    const { store } = await openStore(create, space, options);
    await eventually(() => store.set("s", sessionOf({ v: "in time" })).then(() => true));
    const primary = await own.primary();
    const replica = own.servers.find((server) => server !== primary) as typeof primary;
    // A failover loses what is not replicated yet.
    const isReplicated = async () =>
      String(await own.run(replica, "GET", `${space.prefix}s`)).includes("in time");
    await eventually(isReplicated);
    await primary.pause();
    const saving = store.set("s", sessionOf({ v: "too late" }));
    await expect(saving).rejects.toThrow(/no answer in 700 ms/);
    await primary.kill();
    await eventually(async () => {
      await store.set("after", sessionOf());
      return (await own.primary()) !== primary;
    });
    store.evictFromCache("s");
    const found = await eventually(() => store.get("s"));
    expect(valuesOf(found)).toEqual({ v: "in time" });
  });

  test(`${name}: a primary that dies while the client connects to it: the next one is used`, async () => {
    const own = await startOwn();
    const { store, client } = await openStore(create, newSpace(), subscribing(name));
    const primary = await own.primary();
    let connection: { destroy(): void } | undefined;
    const sentinel = client as AnyClient & {
      _execute(isReadonly: boolean, use: (used: typeof connection) => Promise<void>): Promise<void>;
      once(event: "topology-change", listener: () => void): unknown;
    };
    await sentinel._execute(false, async (used) => {
      connection = used;
    });
    // It accepts connections, but completes none. The Sentinels have not noticed yet, and so name it once more.
    await primary.pause();
    const isConnecting = new Promise<void>((resolve) => sentinel.once("topology-change", resolve));
    connection?.destroy();
    store.set("s", sessionOf()).catch(() => {});
    await isConnecting;
    await primary.kill();
    await eventually(() => store.set("s", sessionOf({ v: 1 })).then(() => true));
    expect(await own.primary()).not.toBe(primary);
  });
}
