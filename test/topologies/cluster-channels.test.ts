import { createClient, createCluster } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { Cluster } from "../../lib/redis/cluster.ts";
import type { Primary } from "../../lib/redis/topology.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, newSpace, recordEvents, sessionOf, valuesOf } from "../support/node.ts";
import { BUSY, type ClusterNode } from "../support/redis/cluster.ts";
import { clients, migrate, placesOf, redis, sidAt, useCluster } from "./clusters.ts";
import { type AnyClient, openStore } from "./stores.ts";

useCluster();

/** Copies that no test outlasts: only what the test is about drops them. */
const LASTING = { localCache: { ttlMs: 600_000 } };
const HOUR_MS = 3_600_000;
/** A lease that does not lapse, and heartbeats that show nothing in time: what happens happens without them. */
const WITHOUT_HEARTBEATS = { heartbeatMs: 600_000, leaseMs: 1_200_000 };

const channelOf = (store: ClusteredRedisStore, sid: string) =>
  String(store.coordinator?.sessions.channelOf(sid));

/** How many connections of each of several servers are subscribed to a channel. */
async function subscribersAt(nodes: readonly ClusterNode[], channel: string): Promise<number[]> {
  const replies = await Promise.all(nodes.map((node) => node.run("PUBSUB", "SHARDNUMSUB", channel)));
  return replies.map((reply) => Number((reply as unknown[])[1]));
}

describe.each(Object.entries(clients))("%s", (_, create) => {
  test("a session's channel is in the slot of its key, and what is published there stays with that primary", async () => {
    const space = newSpace();
    const [{ store: a }, { store: b }] = [await openStore(create, space), await openStore(create, space)];
    await a.set("s", sessionOf({ v: 1 }));
    await cacheIn(b, "s");
    const name = channelOf(b, "s");
    expect(await redis.slotOf(name)).toBe(await redis.slotOf(`${space.prefix}s`));
    const { from, to, third } = await placesOf(redis, `${space.prefix}s`);
    expect(await subscribersAt([from, to, third], name)).toEqual([expect.any(Number), 0, 0]);
    expect((await subscribersAt([from], name))[0]).toBeGreaterThan(0);
    const elsewhere: string[] = [];
    const listener = createClient({ url: to.url });
    await listener.connect();
    onTestFinished(() => listener.destroy());
    await listener.pSubscribe(`${space.channel}:{*`, (text) => elsewhere.push(text));
    const invalidated = nextEvent(b, "invalidate");
    await a.set("s", sessionOf({ v: 2 }));
    await invalidated;
    expect(valuesOf(await b.get("s"))).toEqual({ v: 2 });
    // Of a deletion, the listener would have heard after it.
    await listener.subscribe(space.channel, (text) => elsewhere.push(text));
    await a.destroy("s");
    await eventually(() => elsewhere.length > 0);
    expect(elsewhere[0]).toContain("SessionDeleted");
  });

  test("while a slot moves, what is written at its new primary reaches every process, once, and names no session", async () => {
    const space = newSpace();
    const options = { ...LASTING, cluster: WITHOUT_HEARTBEATS };
    const [{ store: a }, { store: b }] = [
      await openStore(create, space, options),
      await openStore(create, space, options),
    ];
    const sid = "{moving}s";
    const events = { a: recordEvents(a, ["invalidate"]), b: recordEvents(b, ["invalidate"]) };
    await a.set(sid, sessionOf({ v: 0 }, HOUR_MS));
    await cacheIn(b, sid);
    const { slot, from, to } = await placesOf(redis, space.prefix + sid);
    const texts: string[] = [];
    const listener = createClient({ url: to.url });
    await listener.connect();
    onTestFinished(() => listener.destroy());
    await listener.subscribe(space.channel, (text) => texts.push(text));
    const before = b.clusterStats.messagesReceived;
    await redis.moveSlot(slot, from, to, async () => {
      await a.set(sid, sessionOf({ v: 1 }));
      // One from each primary.
      await eventually(() => b.clusterStats.messagesReceived === before + 3);
      expect(valuesOf(await b.get(sid))).toEqual({ v: 1 });
      await cacheIn(b, sid);
      await a.touch(sid, sessionOf({ v: 1 }, 20_000));
      await eventually(() => b.clusterStats.messagesReceived === before + 6);
    });
    expect(events.b.map(({ args }) => args[0])).toEqual([sid, sid]);
    expect(events.a).toEqual([]);
    expect(texts).toHaveLength(2);
    expect(texts.join()).not.toContain("moving");
    await redis.moveSlot(slot, to, from);
  });

  test("when a slot has moved, its server ends the subscriptions, and their sessions are dropped, no others", async () => {
    const space = newSpace();
    const sid = "{moving}s";
    const { slot, from, to, third } = await placesOf(redis, space.prefix + sid);
    await redis.makeNewest(to);
    const options = { ...LASTING, cluster: WITHOUT_HEARTBEATS };
    const [{ store: a }, { store: b }] = [
      await openStore(create, space, options),
      await openStore(create, space, options),
    ];
    const errors = recordEvents(b, ["clusterError", "suspect"]);
    await a.set(sid, sessionOf({ v: 0 }, HOUR_MS));
    await cacheIn(b, sid);
    const others: string[] = [];
    for (let i = 0; others.length < 20; i++) {
      const other = `other${i}`;
      // The prefix is random, so one may happen to be in the slot that moves.
      if ((await redis.slotOf(space.prefix + other)) === slot) continue;
      others.push(other);
      await a.set(other, sessionOf({}, HOUR_MS));
      await cacheIn(b, other);
    }
    await migrate(slot, from, to);
    for (const node of [to, from, third]) await node.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
    // As the store would, but without a message.
    await to.run("SET", space.prefix + sid, JSON.stringify(sessionOf({ v: 1 })));
    await eventually(async () => valuesOf(await b.get(sid))?.["v"] === 1);
    const { hits } = b.cacheStats;
    for (const other of others) await b.get(other);
    expect(b.cacheStats.hits).toBe(hits + others.length);
    // It is subscribed at its new primary, once the client knows that.
    await eventually(async () => {
      await b.get(sid);
      return (await subscribersAt([to], channelOf(b, sid)))[0] === 1;
    });
    await cacheIn(b, sid);
    const invalidated = nextEvent(b, "invalidate");
    await a.set(sid, sessionOf({ v: 2 }));
    await invalidated;
    expect(valuesOf(await b.get(sid))).toEqual({ v: 2 });
    expect(errors).toEqual([]);
    await redis.moveSlot(slot, to, from);
  });
});

test("a session that is refused costs those that are read with it nothing", async () => {
  const space = newSpace();
  const { primary } = await redis.ownersOf(`${space.prefix}list`);
  const other = await sidAt(redis, space, primary);
  const { store } = await openStore(clients["node-redis 6"], space, { cluster: WITHOUT_HEARTBEATS });
  await primary.run("RPUSH", `${space.prefix}list`, "no session");
  await primary.run("SET", space.prefix + other, JSON.stringify(sessionOf({ v: 1 })));
  await eventually(() => store.coordinator?.sessions.listeners.every(({ sessions }) => sessions?.canRead));
  const sessions = store.coordinator?.sessions;
  const read = (sid: string) =>
    sessions?.read(sid, {
      build: (batch) => batch.getRange(space.prefix + sid, 0, 0).pTTL(space.prefix + sid),
      parse: (replies) => replies.length,
    });
  expect(await Promise.all([read("list"), read(other)])).toEqual([undefined, undefined]);
  // Not a promise: it need not be subscribed again.
  expect(sessions?.subscribe(other)).toBe(true);
  expect(await read(other)).toEqual({ value: 2 });
});

test("when one of several subscriptions is redirected, no other stays behind at the server", async () => {
  const space = newSpace();
  const sid = "{moving}s";
  const { slot, from, to, third } = await placesOf(redis, space.prefix + sid);
  const other = await sidAt(redis, space, from);
  await redis.makeNewest(to);
  const options = { ...LASTING, cluster: WITHOUT_HEARTBEATS };
  const { store } = await openStore(clients["node-redis 6"], space, options);
  await migrate(slot, from, to);
  for (const node of [to, from, third]) await node.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
  const sessions = store.coordinator?.sessions;
  expect(await Promise.all([sessions?.subscribe(sid), sessions?.subscribe(other)])).toEqual([false, false]);
  await eventually(async () => (await subscribersAt([from], channelOf(store, other)))[0] === 0);
  expect(await sessions?.subscribe(other)).toBe(true);
  expect(await subscribersAt([from], channelOf(store, other))).toEqual([1]);
  await redis.moveSlot(slot, to, from);
});

test("a subscription can be opened at a primary whose first slot has just moved", async () => {
  const space = newSpace();
  const [from, to] = (await redis.primaries()) as [ClusterNode, ClusterNode];
  await redis.makeNewest(to);
  const client = createCluster({ rootNodes: redis.rootNodes }) as AnyClient;
  await client.connect();
  onTestFinished(async () => void (await client.destroy()));
  const topology = new Cluster(client, {
    prefix: space.prefix,
    leaseMs: 60_000,
    subscriber: client as never,
  });
  const primaries = await topology.discover();
  const primary = primaries.find(({ id }) => id === from.id) as Primary;
  const subscriber = createClient({ url: from.url });
  await subscriber.connect();
  onTestFinished(() => subscriber.destroy());
  const first = String(firstSlotOf(await from.run("CLUSTER", "SLOTS"), from));
  for (const node of redis.nodes) await node.run("CLUSTER", "SETSLOT", first, "NODE", to.id).catch(() => {});
  await primary.sessionConnection(subscriber as never, space.channel);
  await redis.moveSlot(Number(first), to, from);
});

/** The least slot of a server. */
function firstSlotOf(slots: unknown, { id }: ClusterNode): number {
  const ranges = slots as [number, number, [string, number, string]][];
  return Math.min(...ranges.filter(([, , [, , owner]]) => owner === id).map(([first]) => first));
}

/** Two stores that have cached a session, and what it takes to lose a notice from its primary. */
async function cachedByTwo() {
  const space = newSpace();
  const sid = "{moving}s";
  const places = await placesOf(redis, space.prefix + sid);
  const { from } = places;
  const create = clients["node-redis 6"];
  const [{ store: a }, { store: b }] = [
    await openStore(create, space, LASTING),
    await openStore(create, space, LASTING),
  ];
  // Of the same primary, and in another slot.
  const candidates = Array.from({ length: 30 }, (_, i) => `other${i}`);
  const owners = await Promise.all(candidates.map((other) => redis.ownersOf(space.prefix + other)));
  const others = candidates.filter((_, i) => owners[i]?.primary === from);
  await a.set(sid, sessionOf({ v: 0 }, HOUR_MS));
  await cacheIn(b, sid);
  const admins = [createClient({ url: from.url }), createClient({ url: from.url })] as const;
  for (const admin of admins) await admin.connect();
  onTestFinished(() => {
    for (const admin of admins) admin.destroy();
  });
  /** Runs commands at the primary, so that what they send `b` arrives while `b` waits for replies. */
  const runUnnoticed = async (...commands: readonly string[][]) => {
    const busy = admins[0].eval(BUSY);
    const running = commands.map((command) => admins[1].sendCommand(command));
    await Promise.all([busy, ...running, ...others.map((other) => b.get(other))]);
  };
  return { a, b, sid, key: space.prefix + sid, others, places, runUnnoticed };
}

test("a notice that a slot has moved may be lost among replies: a heartbeat shows it, without a new epoch", async () => {
  const { b, sid, key, others, places, runUnnoticed } = await cachedByTwo();
  const { slot, from, to, third } = places;
  await redis.makeNewest(to);
  await cacheIn(b, sid);
  await migrate(slot, from, to);
  for (const node of [to, third]) await node.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
  await runUnnoticed(["CLUSTER", "SETSLOT", String(slot), "NODE", to.id]);
  await to.run("SET", key, JSON.stringify(sessionOf({ v: 1 })));
  await eventually(async () => valuesOf(await b.get(sid))?.["v"] === 1);
  // What was read meanwhile belongs to its session.
  for (const other of others) expect(await b.get(other)).toBeNull();
  await redis.moveSlot(slot, to, from);
});

test("a slot is taken from its primary and given back, and the notice is lost: Redis's count of subscriptions shows it", async () => {
  const { a, b, sid, others, places, runUnnoticed } = await cachedByTwo();
  const slot = String(places.slot);
  await runUnnoticed(["CLUSTER", "DELSLOTS", slot], ["CLUSTER", "ADDSLOTS", slot]);
  await eventually(() =>
    a.set(sid, sessionOf({ v: 1 }, HOUR_MS)).then(
      () => true,
      () => false,
    ),
  );
  await eventually(async () => valuesOf(await b.get(sid))?.["v"] === 1);
  for (const other of others) expect(await b.get(other)).toBeNull();
});

test("what is written while its slot moves is not cached without a subscription at the new primary", async () => {
  const { a, b, sid, key, places, runUnnoticed } = await cachedByTwo();
  const { slot, from, to, third } = places;
  await redis.makeNewest(to);
  await cacheIn(a, sid);
  await migrate(slot, from, to);
  for (const node of [to, third]) await node.run("CLUSTER", "SETSLOT", String(slot), "NODE", to.id);
  // The notice arrives before the write has been redirected.
  const moved = runUnnoticed(["CLUSTER", "SETSLOT", String(slot), "NODE", to.id]);
  await a.set(sid, sessionOf({ v: 1 }, HOUR_MS));
  await moved;
  await eventually(() => to.run("SET", key, JSON.stringify(sessionOf({ v: 2 }))));
  await b.set(sid, sessionOf({ v: 3 }, HOUR_MS));
  await eventually(async () => valuesOf(await a.get(sid))?.["v"] === 3);
  await redis.moveSlot(slot, to, from);
});
