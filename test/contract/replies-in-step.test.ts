import type { EventEmitter } from "node:events";
import { Socket } from "node:net";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { directClient, newSpace, recordEvents, sessionOf, startNode, valuesOf } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinels } from "../support/redis/sentinel.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import * as v5 from "../support/redis-v5.ts";
import { type AnyClient, openStore, type StoreOptions } from "../topologies/stores.ts";

// Longer than V8's longest string (536,870,888 characters), and as long as Redis allows: node-redis's decoder throws.
const TOO_LONG = 536_870_900;

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
  const admin = await createClient({ url: redis.url }).connect();
  await admin.setRange("long", TOO_LONG, "x");
  admin.destroy();
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

/** The application reads a value that is too long, on the client that it shares with the store. */
async function useWithLongValue(create: () => SharedClient, options: StoreOptions = {}) {
  // Of a connection that transfers half a gigabyte nothing is known for longer than the default of 5 s on a busy machine.
  const patient = { commandTimeoutMs: 60_000, ...options };
  const { store, client } = await openStore(create, newSpace(), patient);
  const result = await readDuring(store, async () => {
    const failure = nextEvent(client as unknown as EventEmitter, "error");
    client.get("long").catch(() => {});
    await failure;
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
    await useWithLongValue(create, options?.());
  });
}

test("a session's value that is too long is corrupt, and disturbs no other", async () => {
  const admin = await directClient({ url: redis.url });
  const space = newSpace();
  const { store } = await openStore(() => createClient({ url: url() }) as unknown as SharedClient, space, {
    cluster: { leaseMs: 60_000 },
  });
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
  // With RESP 2 a connection that subscribes executes no other commands.
  const create = () => createClient({ url: redis.url, RESP: 3 });
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

test("a PING that node-redis refuses since its queue is full leaves the connection and its commands alone", async () => {
  const space = newSpace();
  const admin = await directClient();
  const client = { pingInterval: 20, commandsQueueMaxLength: 10 };
  const node = await startNode(space, { client, store: { commandTimeoutMs: 600_000 } });
  const failures: string[] = [];
  node.client.on("error", ({ message }: Error) => failures.push(message));
  const list = `${space.channel}:list`;
  // Right behind a PING, so that the next one is still to come.
  const [peak] = await new Promise<Promise<unknown>[][]>((resolve) => {
    node.client.once("ping-interval", () =>
      resolve([Array.from({ length: 10 }, () => node.client.blPop(list, 0))]),
    );
  });
  const settled = Promise.allSettled(peak as Promise<unknown>[]);
  await eventually(() => failures.length > 0);
  await admin.rPush(list, Array<string>(10).fill("x"));
  const outcomes = await settled;
  expect(failures).toContain("The queue is full");
  expect(outcomes.map(({ status }) => status)).toContain("fulfilled");
  const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason] : []));
  expect(errors.filter(({ message }) => message !== "The queue is full")).toEqual([]);
});

test("a command of client.legacy() that node-redis cannot encode leaves the connection alone", async () => {
  const { client } = await startNode(newSpace());
  const events: unknown[] = [];
  for (const name of ["error", "end"]) client.on(name, () => events.push(name));
  client.legacy().set("key", undefined as never);
  await eventually(() => events.length > 0);
  expect(events).toEqual(["error"]);
});

/** Sends a command of nobody's before the next heartbeat, on its connection: from then on there is one reply too many. */
async function putOutOfStep(): Promise<void> {
  const { write } = Socket.prototype;
  const writeTo = write as unknown as (this: unknown, ...args: unknown[]) => boolean;
  let isDone = false;
  Socket.prototype.write = function (this: unknown, chunk: unknown, ...rest: unknown[]) {
    if (!isDone && /\$\d\r\nEVAL/.test(String(chunk))) {
      isDone = true;
      writeTo.call(this, "*1\r\n$4\r\nPING\r\n");
    }
    return writeTo.call(this, chunk, ...rest);
  } as typeof write;
  try {
    await eventually(() => isDone);
  } finally {
    Socket.prototype.write = write;
  }
}

async function beFoundOutOfStep(create: () => SharedClient, options: StoreOptions = {}): Promise<void> {
  const { store } = await openStore(create, newSpace(), options);
  const events = recordEvents(store, ["suspect"]);
  await putOutOfStep();
  await eventually(() => events.some(({ args }) => args[0] === "replies are out of step"));
  await eventually(() => store.clusterStats.state === "live");
  const { wrong, failed } = await readDuring(store, async () => {});
  expect({ wrong, failed }).toEqual({ wrong: [], failed: 0 });
}

for (const [name, { create, options }] of Object.entries(clients)) {
  test(`${name}: the next heartbeat finds replies out of step, and the connection is replaced`, async () => {
    await beFoundOutOfStep(create, options?.());
  });
}

for (const [version, create] of [
  ["6", createSentinel],
  ["5", v5.createSentinel as unknown as typeof createSentinel],
] as const) {
  test(`Sentinel, node-redis ${version}: likewise`, async () => {
    const { name, sentinelRootNodes, stop } = await startSentinels();
    onTestFinished(stop);
    const open = () => create({ name, sentinelRootNodes }) as unknown as SharedClient;
    await beFoundOutOfStep(open, { cluster: { subscriber: open as never } });
  });
}

test("Cluster: likewise", async () => {
  const cluster = await startCluster();
  onTestFinished(() => cluster.stop());
  await beFoundOutOfStep(() => createCluster({ rootNodes: cluster.rootNodes }) as unknown as SharedClient);
});
