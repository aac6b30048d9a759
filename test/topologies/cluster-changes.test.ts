import { createCluster } from "redis";
import { expect, onTestFinished, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, newSpace, sessionOf, valuesOf } from "../support/node.ts";
import { type ClusterNode, startCluster } from "../support/redis/cluster.ts";
import { clients, migrate, placesOf, redis, sidAt, useCluster } from "./clusters.ts";
import { type AnyClient, openStore } from "./stores.ts";

/** Nothing is elected, however busy the machine is. */
const QUIET = { replicas: false, nodeTimeoutMs: 60_000 };
useCluster(QUIET);

/** Copies that no test outlasts: only what the test is about drops them. */
const LASTING = { localCache: { ttlMs: 600_000 } };
const HOUR_MS = 3_600_000;
const WITHOUT_HEARTBEATS = { heartbeatMs: 600_000, leaseMs: 1_200_000 };

/** A client that bypasses the store. */
async function openDirect() {
  const direct = createCluster({ rootNodes: redis.rootNodes });
  direct.on("error", () => {});
  await direct.connect();
  onTestFinished(() => direct.destroy());
  return direct;
}

test("a flood of sessions that are read once: each is subscribed to once, and unsubscribed from when it leaves the cache", async () => {
  const space = newSpace();
  const direct = await openDirect();
  const sids = Array.from({ length: 5_000 }, (_, i) => `s${i}`);
  const text = JSON.stringify(sessionOf({}, HOUR_MS));
  await Promise.all(sids.map((sid) => direct.set(space.prefix + sid, text, { PX: HOUR_MS })));
  const { store } = await openStore(clients["node-redis 6"], space, {
    localCache: { ttlMs: 600_000, maxSize: 20 },
    commandTimeoutMs: 60_000,
    cluster: { leaseMs: 60_000 },
  });
  const primaries = await redis.primaries();
  for (const primary of primaries) await primary.run("CONFIG", "RESETSTAT");
  const askAll = (...args: string[]) => Promise.all(primaries.map((primary) => primary.run(...args)));
  const callsOf = async (command: string) => {
    const calls = new RegExp(`cmdstat_${command}:calls=(\\d+)`);
    const stats = await askAll("INFO", "commandstats");
    return stats.reduce<number>((sum, text) => sum + Number(calls.exec(String(text))?.[1] ?? 0), 0);
  };
  for (let i = 0; i < sids.length; i += 100) {
    await Promise.all(sids.slice(i, i + 100).map((sid) => store.get(sid)));
    expect(store.clusterStats.subscriptions).toBeLessThanOrEqual(3 * 1_040);
  }
  await eventually(() => store.clusterStats.subscriptions === store.localCache.size);
  const { size } = store.localCache;
  await eventually(async () => {
    const channels = (await askAll("PUBSUB", "SHARDCHANNELS", `${space.channel}:*`)) as unknown[][];
    return channels.flat().length === size;
  });
  const subscribed = await callsOf("ssubscribe");
  expect(subscribed).toBeLessThanOrEqual(sids.length);
  expect(await callsOf("sunsubscribe")).toBe(subscribed - size);
});

test("tracking: while a slot moves, and afterwards, writes that bypass the store drop the copies", async () => {
  const space = newSpace();
  const options = { ...LASTING, cluster: { ...WITHOUT_HEARTBEATS, tracking: true } };
  const { store } = await openStore(clients["node-redis 6"], space, options);
  expect(await store.health()).toMatchObject({ tracking: true });
  const direct = await openDirect();
  const sid = "{moving}s";
  const key = space.prefix + sid;
  const { slot, from, to } = await placesOf(redis, key);
  let v = 0;
  const write = async () => direct.set(key, JSON.stringify(sessionOf({ v: ++v }, HOUR_MS)), { PX: HOUR_MS });
  const isFresh = async () => valuesOf(await store.get(sid))?.["v"] === v;
  const writeAndRead = async () => {
    await write();
    await eventually(isFresh);
  };
  await write();
  await cacheIn(store, sid);
  await writeAndRead();
  await cacheIn(store, sid);
  for (const [source, target] of [
    [from, to],
    [to, from],
  ] as const) {
    await redis.moveSlot(slot, source, target, async () => {
      for (let i = 0; i < 3; i++) await writeAndRead();
    });
    await writeAndRead();
    await cacheIn(store, sid);
    await writeAndRead();
  }
});

test("a primary that has given its slots back is forgotten by the others, and ended: nothing stale, no error", async () => {
  const own = await startCluster({ ...QUIET, spares: 1 });
  onTestFinished(() => own.stop());
  const space = newSpace();
  const spare = own.nodes.at(-1) as ClusterNode;
  const create = () => createCluster({ rootNodes: own.rootNodes.slice(0, -1) }) as AnyClient;
  const options = { ...LASTING, commandTimeoutMs: 30_000 };
  const { store: a } = await openStore(create, space, options);
  const { store: b } = await openStore(create, space, options);
  const sids = [
    "{moving}1",
    "{moving}2",
    ...(await Promise.all((await own.primaries()).map((each) => sidAt(own, space, each)))),
  ];
  let v = 0;
  const round = async () => {
    v++;
    for (const sid of sids) {
      await a.set(sid, sessionOf({ v }, HOUR_MS));
      await eventually(async () => valuesOf(await b.get(sid))?.["v"] === v);
    }
  };
  const allCached = async () => {
    for (const sid of sids) await cacheIn(b, sid);
  };
  await round();
  await allCached();
  const { slot, from } = await placesOf(own, `${space.prefix}{moving}`);
  await own.moveSlot(slot, from, spare);
  await round();
  await allCached();
  // The spare becomes a replica as soon as it has no slots.
  await own.makeNewest(from);
  await migrate(slot, spare, from);
  for (const node of [from, ...own.nodes])
    await node.run("CLUSTER", "SETSLOT", String(slot), "NODE", from.id).catch(() => {});
  await round();
  for (const node of own.nodes) if (node !== spare) await node.run("CLUSTER", "FORGET", spare.id);
  await round();
  await spare.server.kill();
  await round();
  await allCached();
  expect(await own.primaries(from)).not.toContain(spare);
  await eventually(() => [a, b].every((store) => store.clusterStats.state === "live"));
  await round();
});

test("a primary forgets another by mistake: nothing stale, and live again when they have met", async () => {
  const own = await startCluster(QUIET);
  onTestFinished(() => own.stop());
  const space = newSpace();
  const create = () => createCluster({ rootNodes: own.rootNodes }) as AnyClient;
  const { store: a } = await openStore(create, space, LASTING);
  const { store: b } = await openStore(create, space, LASTING);
  const primaries = (await own.primaries()) as [ClusterNode, ClusterNode];
  const sids = await Promise.all(primaries.map((primary) => sidAt(own, space, primary)));
  for (const sid of sids) {
    await a.set(sid, sessionOf({ v: 0 }, HOUR_MS));
    await cacheIn(b, sid);
  }
  const isFresh = (sid: string, v: number) => eventually(async () => valuesOf(await b.get(sid))?.["v"] === v);
  const [one, other] = primaries;
  const suspect = nextEvent(b, "suspect");
  await one.run("CLUSTER", "FORGET", other.id);
  await suspect;
  for (let v = 1; v <= 10; v++) {
    for (const sid of sids) {
      // That one refuses its own: the Cluster is down, as far as it knows.
      const [written] = await Promise.allSettled([a.set(sid, sessionOf({ v }, HOUR_MS))]);
      if (written.status === "fulfilled") await isFresh(sid, v);
    }
  }
  await one.run("CLUSTER", "MEET", "127.0.0.1", String(other.port));
  await own.settled();
  await eventually(() => [a, b].every((store) => store.clusterStats.state === "live"));
  for (const sid of sids) {
    await eventually(() => a.set(sid, sessionOf({ v: 11 }, HOUR_MS)).then(() => true));
    await isFresh(sid, 11);
    await cacheIn(b, sid);
  }
});
