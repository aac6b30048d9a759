import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import * as v5 from "redis-v5";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { directClient, newSpace, recordEvents, type Space, sessionOf, valuesOf } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinels } from "../support/redis/sentinel.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type AnyClient, LEASE, openStore, type StoreOptions } from "../topologies/stores.ts";

// Longer than V8's longest string (536,870,888 characters), and as long as Redis allows: node-redis's decoder throws.
const TOO_LONG = 536_870_900;

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

type SharedClient = AnyClient & { get(key: string): Promise<unknown> };

/** Reads sessions of its own all the time while `disturb` runs. @returns what was read, wrong and right */
async function readDuring(store: ClusteredRedisStore, disturb: () => Promise<unknown>) {
  const sids = Array.from({ length: 20 }, (_, i) => `s${i}`);
  for (const sid of sids) await store.set(sid, sessionOf({ sid }));
  const wrong: unknown[] = [];
  let failed = 0;
  let right = 0;
  let isOver = false;
  const readAll = async (sid: string) => {
    while (!isOver) {
      store.evictFromCache(sid);
      await store.get(sid).then(
        (session) => {
          if (valuesOf(session)?.["sid"] === sid) right++;
          else wrong.push([sid, valuesOf(session)]);
        },
        () => failed++,
      );
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  const reading = sids.map(readAll);
  await disturb();
  const before = right;
  await eventually(() => right > before + 200);
  isOver = true;
  await Promise.all(reading);
  return { wrong, failed, right };
}

async function useWithLongValue(
  create: () => SharedClient,
  space: Space,
  key: string,
  options: StoreOptions = {},
) {
  const { store, client } = await openStore(create, space, options);
  const result = await readDuring(store, async () => {
    const reads = Array.from({ length: 3 }, () => client.get(key).catch(() => {}));
    await Promise.race([Promise.all(reads), new Promise((resolve) => setTimeout(resolve, 3_000))]);
  });
  expect(result.wrong).toEqual([]);
  await eventually(() => store.clusterStats.state === "live");
}

const url = () => redis.url;
const clients: Record<string, { create: () => SharedClient; options?: () => StoreOptions }> = {
  "a client of node-redis 6": { create: () => createClient({ url: url() }) as unknown as SharedClient },
  "a client with RESP2": { create: () => createClient({ url: url(), RESP: 2 }) as unknown as SharedClient },
  "a client of node-redis 5": { create: () => v5.createClient({ url: url() }) as unknown as SharedClient },
  "a pool of node-redis 6": {
    create: () => createClientPool({ url: url() }, { minimum: 4, maximum: 4 }) as unknown as SharedClient,
    options: () => ({ cluster: { subscriber: createClient({ url: url() }) } }),
  },
  "a pool of node-redis 5": {
    create: () => v5.createClientPool({ url: url() }, { minimum: 4, maximum: 4 }) as unknown as SharedClient,
    options: () => ({ cluster: { subscriber: createClient({ url: url() }) } }),
  },
};

for (const [name, { create, options }] of Object.entries(clients)) {
  test(`${name}: after the application has read a value that is too long, no session is another's`, async () => {
    const admin = await directClient({ url: redis.url });
    await admin.setRange("long", TOO_LONG, "x");
    await useWithLongValue(create, newSpace(), "long", options?.());
  });
}

test("a session's value that is too long is corrupt, for any type mapping, and disturbs no other", async () => {
  const admin = await directClient({ url: redis.url });
  const space = newSpace();
  const { store } = await openStore(clients["a client of node-redis 6"]?.create as () => SharedClient, space);
  await admin.setRange(`${space.prefix}big`, TOO_LONG, "x");
  const { wrong } = await readDuring(store, () =>
    expect(store.get("big")).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" }),
  );
  expect(wrong).toEqual([]);
  expect(store.clusterStats).toMatchObject({ state: "live", flushes: 0 });
  await admin.del(`${space.prefix}big`);
});

test("a listener of the application that throws on the shared client puts replies out of step: it is replaced", async () => {
  const admin = await directClient({ url: redis.url });
  const space = newSpace();
  const create = () => createClient({ url: redis.url });
  const { store, client } = await openStore(create as unknown as () => SharedClient, space);
  const shared = client as unknown as ReturnType<typeof create>;
  await shared.subscribe(`${space.channel}:app`, () => {
    throw new Error("a mistake of the application");
  });
  const events = recordEvents(store, ["suspect"]);
  const { wrong } = await readDuring(store, async () => {
    for (let i = 0; i < 50; i++) await admin.publish(`${space.channel}:app`, "x");
    await eventually(() => events.length > 0);
  });
  expect(wrong).toEqual([]);
});

test("replies that are out of step for another reason are found by the next heartbeat", async () => {
  const space = newSpace();
  const create = () => createClient({ url: redis.url });
  const { store, client } = await openStore(create as unknown as () => SharedClient, space);
  const events = recordEvents(store, ["suspect"]);
  const shared = client as unknown as ReturnType<typeof create>;
  // One reply more than commands: CLIENT REPLY would leave one out, a MONITOR or a proxy's mistake adds some.
  await (shared as unknown as { sendCommand(args: string[]): Promise<unknown> }).sendCommand(["PING"]);
  const queue = (await import("node:net")).Socket.prototype;
  const { write } = queue;
  let isDone = false;
  queue.write = function (this: unknown, chunk: unknown, ...rest: unknown[]) {
    // A command of nobody's, before the first script on this socket.
    if (!isDone && String(chunk).includes("EVALSHA")) {
      isDone = true;
      (write as unknown as (...args: unknown[]) => boolean).call(this, "*1\r\n$4\r\nPING\r\n");
    }
    return (write as unknown as (...args: unknown[]) => boolean).call(this, chunk, ...rest);
  } as typeof write;
  try {
    await eventually(() => isDone);
  } finally {
    queue.write = write;
  }
  await eventually(() => events.some(({ args }) => args[0] === "replies are out of step"));
  await eventually(() => store.clusterStats.state === "live");
  const { wrong, failed } = await readDuring(store, async () => {});
  expect({ wrong, failed }).toEqual({ wrong: [], failed: 0 });
});

test("Sentinel: the connection to the primary is replaced", async () => {
  const sentinels = await startSentinels();
  try {
    const { name, sentinelRootNodes } = sentinels;
    const primary = await directClient({ url: (await sentinels.primary()).url });
    await primary.setRange("long", TOO_LONG, "x");
    const create = () => createSentinel({ name, sentinelRootNodes }) as unknown as SharedClient;
    await useWithLongValue(create, newSpace(), "long", { cluster: LEASE });
  } finally {
    await sentinels.stop();
  }
});

test("Cluster: the connection to the node is replaced", async () => {
  const cluster = await startCluster();
  try {
    const create = () => createCluster({ rootNodes: cluster.rootNodes }) as unknown as SharedClient;
    const admin = create() as unknown as { setRange(...args: unknown[]): Promise<unknown> } & AnyClient;
    await admin.connect();
    await admin.setRange("long", TOO_LONG, "x");
    await admin.destroy();
    await useWithLongValue(create, newSpace(), "long", { cluster: LEASE });
  } finally {
    await cluster.stop();
  }
});
