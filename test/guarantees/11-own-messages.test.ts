import { createClient, createClientPool } from "redis";
import { expect, inject, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { encodeMessage } from "../../lib/invalidation/messages.ts";
import { eventually } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  LONG_LEASE,
  newSpace,
  ownRedis,
  recordEvents,
  sessionOf,
  setAndReceive,
  startNode,
  valuesOf,
  whenLive,
} from "../support/node.ts";

test("processes with the same label receive each other's messages all the same", async () => {
  const space = newSpace();
  const a = await startNode(space, { cluster: { nodeId: "worker" } });
  const b = await startNode(space, { cluster: { nodeId: "worker" } });
  await a.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(b.store, "s");
  await a.store.set("s", sessionOf({ v: 2 }));
  await eventually(() => b.store.clusterStats.invalidations === 1);
  expect(valuesOf(await b.store.get("s"))).toEqual({ v: 2 });
});

test("forged messages with the numbers of the next real ones suppress neither an event nor an invalidation", async () => {
  const space = newSpace();
  const direct = await directClient();
  const [a, b] = [await startNode(space), await startNode(space)];
  const destroyed = [a, b].map(({ store }) => recordEvents(store, ["destroyed"]));
  await b.store.set("s", sessionOf());
  await cacheIn(a.store, "s");
  const instanceId = b.store.coordinator?.instanceId as string;
  const reason = "clear";
  const forged = { type: "SessionDeleted", instanceId, nodeId: "b", prefix: space.prefix, reason } as const;
  for (let sequence = 2; sequence < 22; sequence++) {
    await direct.publish(space.channel, encodeMessage({ ...forged, sequence, sentAt: 0, sids: ["other"] }));
  }
  await eventually(() => a.store.clusterStats.messagesReceived === 20);
  await b.store.destroy("s");
  for (const events of destroyed) {
    await eventually(() => events.length > 0);
    expect(events).toEqual([{ name: "destroyed", args: ["s", b.store.clusterStats.nodeId, "destroy"] }]);
  }
  expect(await a.store.get("s")).toBeNull();
});

test("the own message does not evict what was just written", async () => {
  const { store } = await startNode(newSpace());
  for (let v = 1; v <= 20; v++) {
    await store.set("s", sessionOf({ v }));
    await eventually(() => store.clusterStats.messagesReceived === v);
    expect(store.localCache.size).toBe(1);
  }
  expect(store.clusterStats).toMatchObject({ invalidations: 0, fencedFills: 0, messagesPublished: 20 });
});

test("the message of a write that timed out and was executed later evicts here, too", async () => {
  // Redis holds back writes, and only these: the pool's other connections still read.
  const redis = await ownRedis();
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const pool = createClientPool({ url: redis.url }, { minimum: 3 });
  pool.on("error", () => {});
  await pool.connect();
  const store = new ClusteredRedisStore({
    client: pool,
    prefix: space.prefix,
    commandTimeoutMs: 1_000,
    cluster: {
      channel: space.channel,
      subscriber: createClient({ url: redis.url }),
      ...LONG_LEASE,
      heartbeatMs: 60_000,
    },
  });
  onTestFinished(async () => {
    await store.close();
    pool.destroy();
  });
  await whenLive(store);
  await store.set("s", sessionOf({ v: "old" }));
  await direct.sendCommand(["CLIENT", "PAUSE", "60000", "WRITE"]);
  await expect(store.set("s", sessionOf({ v: "late" }))).rejects.toMatchObject({
    code: "ERR_SESSION_TIMEOUT",
  });
  await cacheIn(store, "s");
  expect(valuesOf(await store.get("s"))).toEqual({ v: "old" });
  await direct.sendCommand(["CLIENT", "UNPAUSE"]);
  await eventually(() => store.clusterStats.invalidations === 1);
  expect(store.localCache.size).toBe(0);
  expect(valuesOf(await store.get("s"))).toEqual({ v: "late" });
});

test.each(["destroy", "destroyWhere"] as const)(
  "%s: the message of a deletion whose reply is lost emits destroyed once, also if it arrives before the connection is lost",
  async (method) => {
    const space = newSpace();
    // With few keys, so that nothing is asked after the first page.
    const { url } = await ownRedis();
    const { store, data } = await startNode(space, { url });
    const direct = await directClient({ url });
    // Redis knows the scripts.
    await setAndReceive(store, "earlier", sessionOf());
    await (method === "destroy" ? store.destroy("earlier") : store.destroyWhere(() => true));
    await eventually(() => store.clusterStats.messagesReceived === 2);
    await setAndReceive(store, "s", sessionOf());
    await setAndReceive(store, "other", sessionOf({ stays: true }));
    const destroyed = recordEvents(store, ["destroyed"]);
    const { messagesReceived } = store.clusterStats;
    const isReceived = () => store.clusterStats.messagesReceived > messagesReceived;
    let deletion: Promise<unknown>;
    if (method === "destroy") {
      data.hold("toClient");
      deletion = store.destroy("s");
    } else {
      deletion = store.destroyWhere((session) => {
        const isObsolete = !("stays" in session);
        if (isObsolete) data.hold("toClient");
        return isObsolete;
      });
    }
    deletion.catch(() => {});
    await eventually(isReceived);
    expect(destroyed).toEqual([]);
    data.cut();
    data.pass();
    await expect(deletion).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
    expect(await direct.exists(`${space.prefix}s`)).toBe(0);
    const { nodeId } = store.clusterStats;
    expect(destroyed).toEqual([{ name: "destroyed", args: ["s", nodeId, method] }]);
    expect(store.clusterStats.messagesReceived).toBe(messagesReceived + 1);
  },
);

test("cluster: false with the cache on is for one process: nothing is published, and hits are served", async () => {
  const space = newSpace();
  const client = await directClient();
  const subscriber = createClient({ url: inject("redisUrl") });
  subscriber.on("error", () => {});
  onTestFinished(() => subscriber.destroy());
  await subscriber.connect();
  const heard: string[] = [];
  await subscriber.subscribe("session:cluster:invalidate", (message) => heard.push(message));
  const store = new ClusteredRedisStore({ client, prefix: space.prefix, cluster: false });
  await store.ready();
  await store.set("s", sessionOf({ v: 1 }));
  await store.get("s");
  expect(store.cacheStats).toMatchObject({ hits: 1, size: 1 });
  expect(store.clusterStats).toMatchObject({ state: "off", leaseAgeMs: null });
  expect(await store.isHealthy()).toBe(true);
  await store.destroy("s");
  expect(await store.get("s")).toBeNull();
  await subscriber.ping();
  expect(heard.filter((message) => message.includes(space.prefix))).toEqual([]);
});
