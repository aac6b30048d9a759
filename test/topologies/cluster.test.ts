import type { SessionData } from "express-session";
import { createClient, createCluster } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { indexBy } from "../support/indexed.ts";
import { cacheIn, newSpace, sessionOf, valuesOf } from "../support/node.ts";
import { type ClusterNode, startCluster } from "../support/redis/cluster.ts";
import type { RedisServer } from "../support/redis/server.ts";
import * as v5 from "../support/redis-v5.ts";
import { placesOf, clients as plainClients, redis, sidAt, useCluster } from "./clusters.ts";
import { useEverything, useIndex, useMerge } from "./contract.ts";
import { surviveFullMemory } from "./full-memory.ts";
import { openPast, openTwo, surviveKill } from "./kill.ts";
import { type AnyClient, openStore } from "./stores.ts";

useCluster();
const { "node-redis 6, RESP2": _, ...versions } = plainClients;

const clients: Record<string, () => AnyClient> = {
  ...plainClients,
  "node-redis 6, useReplicas": () => createCluster({ rootNodes: redis.rootNodes, useReplicas: true }),
  "node-redis 5, useReplicas": () => v5.createCluster({ rootNodes: redis.rootNodes, useReplicas: true }),
  "minimizeConnections and a keyPrefix": () =>
    createCluster({ rootNodes: redis.rootNodes, minimizeConnections: true, keyPrefix: `${Math.random()}:` }),
  "a client-side cache": () =>
    createCluster({
      rootNodes: redis.rootNodes,
      clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" },
    }),
};

describe.each(Object.entries(clients))("a Cluster client: %s", (name, create) => {
  test("works throughout, and with another store", async () => {
    const space = newSpace();
    const first = create();
    // The same keyPrefix for both.
    const other = () => (first as unknown as { duplicate(): AnyClient }).duplicate();
    const [{ store: a }, { store: b }] = [await openStore(() => first, space), await openStore(other, space)];
    await useEverything(a, b);
    expect(name).toBeTruthy();
  });
});

test("full memory: reads, touches, logouts and heartbeats continue", async () => {
  const { a, b } = await openTwo(versions["node-redis 6"], newSpace());
  const limit = async (bytes: string) => {
    for (const primary of await redis.primaries()) await primary.run("CONFIG", "SET", "maxmemory", bytes);
  };
  onTestFinished(() => limit("0"));
  await surviveFullMemory(a, b, () => limit("1"));
});

test("merging, too, is one script at the session's primary", async () => {
  const space = newSpace();
  const create = versions["node-redis 6"];
  const options = { onConflict: "merge" } as const;
  await useMerge(
    (await openStore(create, space, options)).store,
    (await openStore(create, space, options)).store,
  );
});

test("the sessions of a user are found and deleted, on whatever primary they are", async () => {
  const space = newSpace();
  const create = versions["node-redis 6"];
  await useIndex(
    (await openStore(create, space, { indexBy })).store,
    (await openStore(create, space, { indexBy })).store,
  );
});

test("reads go to the primary though useReplicas is set: a replica may be behind the messages", async () => {
  const space = newSpace();
  for (const { createCluster: create } of [
    { createCluster },
    v5 as unknown as { createCluster: typeof createCluster },
  ]) {
    const { store } = await openStore(
      () => create({ rootNodes: redis.rootNodes, useReplicas: true }) as AnyClient,
      space,
      { localCache: false },
    );
    await store.set("s", sessionOf({ v: 1 }));
    const { primary, replica } = await redis.ownersOf(`${space.prefix}s`);
    await replica.run("CONFIG", "RESETSTAT");
    await primary.run("CONFIG", "RESETSTAT");
    for (let i = 0; i < 20; i++) await store.get("s");
    expect(String(await primary.run("INFO", "commandstats"))).toMatch(/cmdstat_getrange:calls=2\d,/);
    expect(String(await replica.run("INFO", "commandstats"))).not.toMatch(/cmdstat_getrange:/);
  }
});

test("options that cannot work with a Cluster are rejected", () => {
  const client = createCluster({ rootNodes: redis.rootNodes });
  expect(() => new ClusteredRedisStore({ client, cluster: { subscriber: client } })).toThrow(
    /^cluster.subscriber: expected no value with a Cluster client/,
  );
  const bounded = createCluster({ rootNodes: redis.rootNodes, defaults: { commandsQueueMaxLength: 5 } });
  expect(() => new ClusteredRedisStore({ client: bounded })).toThrow(/commandsQueueMaxLength/);
  expect(() => new ClusteredRedisStore({ client, cluster: { channel: "{app}:sessions" } })).toThrow(
    /^cluster.channel: expected a name without "{" with a Cluster client, because .*, got "{app}:sessions"/,
  );
});

test("what is lost on the cluster bus is received all the same, since each primary has its own subscription", async () => {
  const own = await startCluster({ busProxies: true, nodeTimeoutMs: 60_000 });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const create = () => createCluster({ rootNodes: own.rootNodes }) as AnyClient;
  // No flush is expected, so no lease may lapse either.
  const options = { cluster: { leaseMs: 60_000 } };
  const { store: a } = await openStore(create, space, options);
  const { store: b } = await openStore(create, space, options);
  const primaries = await own.primaries();
  const sids = await Promise.all(primaries.map((primary) => sidAt(own, space, primary)));
  for (const sid of sids) {
    await a.set(sid, sessionOf({ v: 1 }));
    await cacheIn(b, sid);
  }
  const [one, other] = primaries as [ClusterNode, ClusterNode];
  const heard: string[] = [];
  const bystander = createClient({ url: one.url });
  onTestFinished(() => bystander.destroy());
  await bystander.connect();
  await bystander.subscribe("news", (message) => heard.push(message));
  for (const bus of own.buses) bus.refuse();
  await other.run("PUBLISH", "news", "lost");
  for (const sid of sids) {
    await a.set(sid, sessionOf({ v: 2 }));
    await eventually(async () => valuesOf(await b.get(sid))?.["v"] === 2);
  }
  for (const bus of own.buses) bus.accept();
  // A heartbeat over the bus would return again now, and would not show that something was lost before it.
  await eventually(async () => {
    await other.run("PUBLISH", "news", "heartbeat");
    return heard.length > 0;
  });
  expect(heard).not.toContain("lost");
  expect(b.clusterStats.state).toBe("live");
  expect(b.clusterStats.flushes).toBe(0);
});

for (const [name, create] of Object.entries(versions)) {
  test(`${name}: a slot moves while it is read and written: no error, nothing stale`, async () => {
    const space = newSpace();
    const { store: a } = await openStore(create, space);
    const { store: b } = await openStore(create, space);
    // Braces: all in one slot.
    const sids = Array.from({ length: 30 }, (_, i) => `{moving}${i}`);
    const slot = await redis.slotOf(`${space.prefix}{moving}`);
    for (const sid of sids) await a.set(sid, sessionOf({ v: 0 }));
    const { primary: from } = await redis.ownersOf(`${space.prefix}{moving}`);
    const to = (await redis.primaries()).find((node) => node !== from) as typeof from;
    const rounds = async (v: number) => {
      for (const [i, sid] of sids.entries()) {
        await (i % 2 ? a : b).set(sid, sessionOf({ v }));
        await Promise.all([a.get(sid), b.get(sid)]);
      }
    };
    await redis.moveSlot(slot, from, to, () => rounds(1));
    await rounds(2);
    for (const sid of sids) {
      for (const store of [a, b]) await eventually(async () => valuesOf(await store.get(sid))?.["v"] === 2);
    }
    expect(await a.destroyWhere((_, sid) => sid.startsWith("{moving}"))).toBe(sids.length);
    await redis.moveSlot(slot, to, from);
  });
}

/** Waits until nodes have refused so many commands with this error. */
async function refusals(nodes: readonly ClusterNode[], error: string, count: number): Promise<void> {
  const countAt = async (node: ClusterNode) => {
    const info = String(await node.run("INFO", "errorstats"));
    return Number(new RegExp(`errorstat_${error}:count=(\\d+)`).exec(info)?.[1] ?? 0);
  };
  await eventually(async () => (await Promise.all(nodes.map(countAt))).some((counted) => counted >= count), {
    what: `${count} times ${error}`,
  });
}

test("two nodes redirect to each other while they disagree about a slot: operations wait until they agree", async () => {
  const own = await startCluster({ replicas: false });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const create = () => createCluster({ rootNodes: own.rootNodes }) as AnyClient;
  const { store } = await openStore(create, space, { commandTimeoutMs: 60_000 });
  const { slot, from, to } = await placesOf(own, `${space.prefix}s`);
  await to.run("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id);
  await from.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
  const answers = Promise.allSettled([store.set("s", sessionOf({ v: 1 })), store.get("s")]);
  await refusals([from, to], "MOVED", 100);
  await to.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
  const [written, read] = await answers;
  expect(written.status).toBe("fulfilled");
  expect(valuesOf((read as { value?: SessionData }).value)).toEqual({ v: 1 });
});

test("while the slot of a user's index moves, logins and listings wait, and logouts do not", async () => {
  const own = await startCluster({ replicas: false });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const create = () => createCluster({ rootNodes: own.rootNodes }) as AnyClient;
  const { store } = await openStore(create, space, { indexBy, commandTimeoutMs: 60_000 });
  // Of ada, one of two keys is at the next primary; of bob, there are none yet.
  for (const user of ["ada", "bob"]) {
    const base = `idx:{${space.prefix}${user}}:${space.prefix.length}`;
    const { slot, from, to } = await placesOf(own, base);
    if (user === "ada") await store.set("former", sessionOf({ user }));
    await to.run("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id);
    await from.run("CLUSTER", "SETSLOT", String(slot), "MIGRATING", to.id);
    if (user === "ada") await from.run("MIGRATE", "127.0.0.1", String(to.port), `${base}:ends`, "0", "5000");
    const answers = Promise.allSettled([store.set(user, sessionOf({ user })), store.countOf(user)]);
    await refusals([from, to], "TRYAGAIN", 3);
    await store.destroy("former");
    await own.moveSlot(slot, from, to);
    expect((await answers).map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
    expect((await store.sessionsOf(user)).map(({ sid }) => sid)).toEqual([user]);
  }
});

test("while one primary is stalled, its operations are refused before the others have none left", async () => {
  // There is no failover.
  const own = await startCluster({ nodeTimeoutMs: 60_000 });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const create = () => createCluster({ rootNodes: own.rootNodes }) as AnyClient;
  const { store } = await openStore(create, space, { commandTimeoutMs: 60_000, localCache: false });
  const { primary: stalled } = await own.ownersOf("{s}");
  const tags = Array.from({ length: 20 }, (_, i) => `{${i}}`);
  const owners = await Promise.all(tags.map((tag) => own.ownersOf(tag)));
  const healthy = tags.filter((_, i) => owners[i]?.primary !== stalled);
  await stalled.server.pause();
  const text = "x".repeat(10_000);
  const writes = Array.from({ length: 2_000 }, (_, i) => store.set(`{s}${i}`, sessionOf({ text })));
  const outcomes = Promise.allSettled(writes);
  await eventually(() => store.clusterStats.refusals > 1_000);
  for (const tag of healthy) await store.set(`${tag}s`, sessionOf({ v: 1 }));
  for (const tag of healthy) expect(valuesOf(await store.get(`${tag}s`))).toEqual({ v: 1 });
  const { refusals } = store.clusterStats;
  await stalled.server.resume();
  const refused = (await outcomes).filter(({ status }) => status === "rejected");
  expect(refused).toHaveLength(refusals);
  expect(refused[0]).toMatchObject({
    reason: { code: "ERR_SESSION_UNAVAILABLE", message: expect.stringMatching(/by one of the primaries$/) },
  });
});

for (const [name, create] of Object.entries(versions)) {
  test(`${name}: a primary is suspended, and its successor is found meanwhile`, async () => {
    const space = newSpace();
    const stores: ClusteredRedisStore[] = [];
    for (let i = 0; i < 3; i++) {
      const { store } = await openStore(create, space);
      stores.push(store);
      // What any primary may execute goes to one after the other. So one of the stores is about to ask the suspended one.
      for (let j = 0; j < i; j++) await store.clear();
    }
    const { primary } = await redis.ownersOf(`${space.prefix}s`);
    await primary.server.pause();
    onTestFinished(async () => {
      await primary.server.resume();
      await redis.settled();
    });
    const write = (store: ClusteredRedisStore) => store.set("s", sessionOf()).then(() => true);
    for (const store of stores) await eventually(() => write(store));
    for (const store of stores) await eventually(() => store.clusterStats.state === "live");
  });
}

test("the first slot of a new primary moves to it while it is read and written: it gets a subscription, too", async () => {
  const own = await startCluster({ spares: 1 });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const nodes = own.nodes as readonly [ClusterNode, ...ClusterNode[]];
  const spare = nodes[nodes.length - 1] as ClusterNode;
  const create = () => createCluster({ rootNodes: own.rootNodes.slice(0, -1) }) as AnyClient;
  const options = { commandTimeoutMs: 30_000 };
  const { store: a } = await openStore(create, space, options);
  const { store: b } = await openStore(create, space, options);
  const sids = Array.from({ length: 30 }, (_, i) => `{moving}${i}`);
  for (const sid of sids) await a.set(sid, sessionOf({ v: 0 }));
  const { primary: from } = await own.ownersOf(`${space.prefix}{moving}`);
  const answers: Promise<unknown>[] = [];
  await own.moveSlot(await own.slotOf(`${space.prefix}{moving}`), from, spare, async () => {
    // Until it has the whole slot, CLUSTER SLOTS does not name it, and node-redis cannot know it: they wait for that.
    for (const [i, sid] of sids.entries()) {
      answers.push((i % 2 ? a : b).set(sid, sessionOf({ v: 1 })), a.get(sid), b.get(sid));
    }
  });
  await Promise.all(answers);
  const isListenedTo = async () => {
    const [, subscribers] = (await spare.run("PUBSUB", "NUMSUB", space.channel)) as unknown[];
    return Number(subscribers) === 2;
  };
  await eventually(isListenedTo);
  await eventually(() => [a, b].every((store) => store.clusterStats.state === "live"));
  for (const sid of sids) {
    await a.set(sid, sessionOf({ v: 2 }));
    await eventually(async () => valuesOf(await b.get(sid))?.["v"] === 2);
  }
});

for (const [name, create] of Object.entries(versions)) {
  test(`${name}: a primary is demoted without an outage: heartbeats detect it, without any reads or writes`, async () => {
    const space = newSpace();
    const { store } = await openStore(create, space);
    const { primary, replica } = await redis.ownersOf(`${space.prefix}s`);
    const suspect = nextEvent(store, "suspect");
    await redis.failOver(replica);
    await suspect;
    await eventually(async () => {
      const [, subscribers] = (await replica.run("PUBSUB", "NUMSUB", space.channel)) as unknown[];
      return Number(subscribers) === 1 && store.clusterStats.state === "live";
    });
    expect(store.clusterStats.flushes).toBeGreaterThan(0);
    await store.set("s", sessionOf({ v: 1 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    await redis.settled();
    expect(await redis.primaries(primary)).not.toContain(primary);
  });

  test(`${name}: kill -9 of a primary under load: flush, live again, nothing stale, no call without an answer`, async () => {
    const nodes = await openTwo(create, newSpace());
    let killed: RedisServer | undefined;
    const victim = async () => {
      killed = (await redis.ownersOf(`${nodes.space.prefix}load-0`)).primary.server;
      return killed;
    };
    try {
      await surviveKill(nodes, () => openPast(create, nodes), victim);
    } finally {
      // The tests after it need all servers, even if it fails.
      await killed?.restart();
      await redis.settled();
    }
  });
}
