import { expect, onTestFinished, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  type Client,
  cacheIn,
  directClient,
  type Node,
  newSpace,
  recordEvents,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

interface Server {
  readonly redis: RedisServer;
  readonly admin: Client;
}

const FAST_SYNC = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

async function startServer(args: readonly string[] = []): Promise<Server> {
  const redis = await startRedis({ own: true, args: [...FAST_SYNC, ...args] });
  onTestFinished(() => redis.stop());
  return { redis, admin: await directClient({ url: redis.url }) };
}

/** Makes a server a replica, as a failover by hand does: connections stay open. */
async function follow({ admin }: Server, primary: Server): Promise<void> {
  await admin.sendCommand(["REPLICAOF", "127.0.0.1", new URL(primary.redis.url).port]);
  await eventually(async () => /master_link_status:up/.test(String(await admin.info("replication"))));
}

/** The replica takes over, and its primary follows it. */
async function swap(primary: Server, replica: Server): Promise<void> {
  await follow(replica, primary);
  await replica.admin.sendCommand(["REPLICAOF", "NO", "ONE"]);
  await follow(primary, replica);
}

async function isCached({ store }: Node, sid: string): Promise<boolean> {
  await store.get(sid);
  return store.localCache.peek(sid) !== undefined;
}

test("a server that became a replica under open connections proves nothing: its sessions are not cached", async () => {
  const [first, second] = [await startServer(), await startServer()];
  const space = newSpace();
  const a = await startNode(space, { url: first.redis.url });
  await a.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(a.store, "s");
  const events = recordEvents(a.store, ["suspect", "live"]);
  await swap(first, second);
  await eventually(() => a.store.clusterStats.state === "suspect");
  expect(events.map(({ args }) => args[0])).toContain("Redis is read-only");
  const b = await startNode(space, { url: second.redis.url });
  await b.store.destroy("s");
  await eventually(async () => (await a.store.get("s")) === null);
  expect(a.store.clusterStats.state).toBe("suspect");
  expect(a.store.localCache.size).toBe(0);
});

test("a data connection to the new primary and a subscription at the demoted one: nothing is cached", async () => {
  const [first, second] = [await startServer(), await startServer()];
  const space = newSpace();
  // The demoted server gets all messages from its primary, until the link between them breaks.
  await follow(first, second);
  const a = await startNode(space, {
    url: second.redis.url,
    live: false,
    cluster: SHORT_LEASE,
    first: (_, bus) => bus.leadTo(first.redis.url),
  });
  const b = await startNode(space, { url: second.redis.url });
  await b.store.set("s", sessionOf({ v: 1 }));
  const errors = recordEvents(a.store, ["clusterError", "live"]);
  await eventually(() => errors.some(({ args }) => /reach different servers/.test(String(args[0]))));
  expect(await isCached(a, "s")).toBe(false);
  expect(errors.map(({ name }) => name)).not.toContain("live");
  // A listener with a pattern counts as a receiver, but the subscriber at the replica receives no heartbeat.
  const monitor = await directClient({ url: second.redis.url });
  await monitor.pSubscribe("*", () => {});
  await new Promise((resolve) => setTimeout(resolve, 3 * SHORT_LEASE.leaseMs));
  expect(await isCached(a, "s")).toBe(false);
  expect(errors.map(({ name }) => name)).not.toContain("live");
});

test("a data connection that is replaced is verified again, and finds that the subscription stayed behind", async () => {
  const [first, second] = [await startServer(), await startServer()];
  const space = newSpace();
  const a = await startNode(space, { url: first.redis.url });
  await a.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(a.store, "s");
  await swap(first, second);
  const errors = recordEvents(a.store, ["clusterError"]);
  // The name now leads to the new primary.
  a.data.leadTo(second.redis.url);
  await eventually(() => errors.some(({ args }) => /reach different servers/.test(String(args[0]))));
  expect(await isCached(a, "s")).toBe(false);
});

test("a replaced data connection to the same server: suspect, and live again after one heartbeat", async () => {
  const a = await startNode(newSpace());
  await a.store.set("s", sessionOf({ v: 1 }));
  const suspect = nextEvent(a.store, "suspect");
  const live = nextEvent(a.store, "live");
  a.data.cut();
  expect(await suspect).toEqual(["the client has reconnected"]);
  await live;
  expect(a.bus.accepted).toBe(1);
});

test("forged heartbeats keep no lease: Infinity, numbers sent ahead, and payloads that were seen before", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space, { cluster: SHORT_LEASE });
  const direct = await directClient();
  const channel = `${space.channel}:${store.coordinator?.instanceId}`;
  const seen: string[] = [];
  const eavesdropper = await directClient();
  await eavesdropper.subscribe(channel, (payload) => seen.push(payload));
  await eventually(() => seen.length >= 3);
  expect(new Set(seen).size).toBe(seen.length);
  const suspect = nextEvent(store, "suspect");
  data.hold("toServer");
  const until = performance.now() + 1.5 * SHORT_LEASE.leaseMs;
  while (performance.now() < until) {
    const forged = [
      "Infinity",
      "-1",
      "",
      "NaN",
      ...seen,
      ...Array.from({ length: 100 }, (_, i) => String(i)),
    ];
    await Promise.all(forged.map((payload) => direct.publish(channel, payload)));
  }
  await suspect;
  expect(store.clusterStats.state).toBe("suspect");
});

test("with two stores on one client, closing one leaves the other verified", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.close();
  const suspect = nextEvent(b.store, "suspect");
  const live = nextEvent(b.store, "live");
  b.data.cut();
  await suspect;
  await live;
  await b.store.set("s", sessionOf({ v: 1 }));
  expect(valuesOf(await b.store.get("s"))).toEqual({ v: 1 });
});

test("MISCONF: Redis refuses writes, and reads, heartbeats and health continue", async () => {
  const { redis, admin } = await startServer(["--dir", "/proc"]);
  const a = await startNode(newSpace(), { url: redis.url, cluster: SHORT_LEASE });
  await a.store.set("s", sessionOf({ v: 1 }));
  await admin.configSet("save", "3600 1");
  // A background save that fails is what makes Redis refuse writes.
  await eventually(async () => {
    await admin.sendCommand(["BGSAVE"]).catch(() => {});
    return a.store.set("s", sessionOf({ v: 2 })).then(
      () => false,
      (error: Error) => /MISCONF/.test(error.message),
    );
  });
  // Longer than a lease that is not renewed. On a busy machine it may lapse for a moment even so.
  await new Promise((resolve) => setTimeout(resolve, 2 * SHORT_LEASE.leaseMs));
  await eventually(() => a.store.isHealthy());
  expect(valuesOf(await a.store.get("s"))).toMatchObject({ v: expect.any(Number) });
});
