import type { LookupFunction } from "node:net";
import { createClient, createClientPool, RESP_TYPES } from "redis";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import {
  ClusteredRedisStore,
  type Codec,
  type RedisStoreClient,
  type RedisSubscriberClient,
} from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { startProxy } from "../support/fault-proxy.ts";
import {
  cacheIn,
  directClient,
  LONG_LEASE,
  newSpace,
  type Space,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
  whenLive,
} from "../support/node.ts";
import * as v5 from "../support/redis-v5.ts";

type AnyClient = RedisStoreClient & {
  on(event: string, listener: (error: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
};

/** Every way in which a user may have made the client, as far as it could matter to the store. */
const clients: Record<string, (url: string, space: Space) => AnyClient> = {
  "node-redis 6": (url) => createClient({ url }),
  "node-redis 6, RESP2": (url) => createClient({ url, RESP: 2 }),
  "node-redis 5": (url) => v5.createClient({ url }),
  "node-redis 5, RESP3": (url) => v5.createClient({ url, RESP: 3 }),
  "a type mapping to Buffers": (url) => {
    const mapping = { [RESP_TYPES.BLOB_STRING]: Buffer, [RESP_TYPES.NUMBER]: String } as const;
    return createClient({ url, commandOptions: { typeMapping: mapping } });
  },
  "withTypeMapping to Buffers": (url) =>
    createClient({ url }).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }),
  "a keyPrefix": (url, space) => createClient({ url, keyPrefix: `${space.channel}:` }),
  "a keyPrefix with glob characters": (url, space) =>
    createClient({ url, keyPrefix: `${space.channel}:[*]?` }),
  "a database": (url) => createClient({ url, database: 3 }),
  "a name": (url) => createClient({ url, name: "app" }),
  "a client-side cache": (url) =>
    createClient({ url, clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } }),
  emitInvalidate: (url) => createClient({ url, emitInvalidate: true }),
  disableOfflineQueue: (url) => createClient({ url, disableOfflineQueue: true }),
  "pingInterval and socketTimeout": (url) =>
    createClient({ url, pingInterval: 50, socket: { socketTimeout: 10_000 } }),
  "a command timeout of its own": (url) => createClient({ url, commandOptions: { timeout: 10_000 } }),
  "a pool": (url) => createClientPool({ url }) as unknown as AnyClient,
  "a pool with a type mapping and a keyPrefix": (url, space) =>
    createClientPool({
      url,
      keyPrefix: `${space.channel}:`,
      commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } },
    }) as unknown as AnyClient,
  "a node-redis 5 pool": (url) => v5.createClientPool({ url }) as unknown as AnyClient,
};

for (const [name, create] of Object.entries(clients)) {
  describe(`a client with ${name}`, () => {
    test("works throughout, and with another store", async () => {
      const space = newSpace();
      const url = inject("redisUrl");
      const open = async () => {
        const client = create(url, space);
        client.on("error", () => {});
        await client.connect();
        const subscriber = ("duplicate" in client ? client : createClient({ url })) as RedisSubscriberClient;
        const store = new ClusteredRedisStore({
          client,
          prefix: space.prefix,
          cluster: { channel: space.channel, subscriber, ...LONG_LEASE },
        });
        onTestFinished(async () => {
          await store.close();
          client.destroy();
        });
        await whenLive(store);
        return store;
      };
      const [a, b] = await Promise.all([open(), open()]);
      await a.set("s", sessionOf({ v: 1, text: "ü€😀" }));
      expect(valuesOf(await b.get("s"))).toEqual({ v: 1, text: "ü€😀" });
      await cacheIn(b, "s");
      const { hits } = b.cacheStats;
      expect(valuesOf(await b.get("s"))).toEqual({ v: 1, text: "ü€😀" });
      expect(b.cacheStats.hits).toBe(hits + 1);
      const invalidated = nextEvent(b, "invalidate");
      await a.set("s", sessionOf({ v: 2 }));
      await invalidated;
      expect(valuesOf(await b.get("s"))).toEqual({ v: 2 });
      await b.touch("s", sessionOf({}, 600_000));
      expect(await a.ids()).toEqual(["s"]);
      expect(await a.length()).toBe(1);
      expect(await a.all()).toMatchObject([{ id: "s", v: 2 }]);
      expect(await a.get("nobody")).toBeNull();
      const destroyed = nextEvent(a, "destroyed");
      await b.destroy("s");
      await destroyed;
      expect(await a.get("s")).toBeNull();
      await a.set("t", sessionOf({ v: 3 }));
      expect(await a.destroyWhere((session) => session["v"] === 3)).toBe(1);
      await a.set("u", sessionOf());
      await b.clear();
      expect(await a.length()).toBe(0);
      expect(await a.isHealthy()).toBe(true);
    });
  });
}

test("keyPrefix: the key in Redis has both prefixes", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { client: { keyPrefix: `${space.channel}:app:` } });
  await store.set("s", sessionOf());
  expect(await direct.exists(`${space.channel}:app:${space.prefix}s`)).toBe(1);
  await store.clear();
  expect(await direct.exists(`${space.channel}:app:${space.prefix}s`)).toBe(0);
});

test("keyPrefix: it is part of the key that a codec gets", async () => {
  const space = newSpace();
  const keys = new Set<string>();
  const codec: Codec = {
    encode: (text, { key }) => {
      keys.add(key);
      return text;
    },
    decode: String,
  };
  const { store } = await startNode(space, { client: { keyPrefix: "app:" }, store: { codec } });
  await store.set("s", sessionOf());
  expect([...keys]).toEqual([`app:${space.prefix}s`]);
});

test("disableOfflineQueue: while the client is offline, an operation fails without waiting", async () => {
  const { store, data, client } = await startNode(newSpace(), { client: { disableOfflineQueue: true } });
  data.refuse();
  await eventually(() => !client.isReady);
  store.evictFromCache("s");
  await expect(store.get("s")).rejects.toMatchObject({
    code: "ERR_SESSION_REDIS",
    message: expect.stringContaining("disableOfflineQueue"),
  });
});

test("a client whose queue is bounded: what it refuses is an error, and no transaction is split", async () => {
  const space = newSpace();
  const direct = await directClient();
  const a = await startNode(space, { client: { commandsQueueMaxLength: 6 } });
  const published = new Set<string>();
  const listener = await directClient();
  await listener.pSubscribe(`${space.channel}:*`, (_text, channel) => {
    if (!channel.endsWith(String(a.store.coordinator?.instanceId))) published.add(channel);
  });
  const commands = await watchCommands(space);
  const sids = Array.from({ length: 30 }, (_, i) => `s${i}`);
  const outcomes = await Promise.allSettled(sids.map((sid) => a.store.set(sid, sessionOf({ v: 1 }))));
  const written = sids.filter((_, i) => outcomes[i]?.status === "fulfilled");
  expect(written.length).toBeGreaterThan(0);
  expect(written.length).toBeLessThan(sids.length);
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") expect(String(outcome.reason)).toContain("The queue is full");
  }
  await eventually(() => published.size === written.length);
  expect(commands).not.toContain("MULTI");
  // Inside a transaction this would be QUEUED.
  expect(await a.client.get(`${space.prefix}nobody`)).toBeNull();
  const keys = await direct.exists(sids.map((sid) => space.prefix + sid));
  expect(keys).toBe(written.length);
});

test("a pool whose connections have a bounded queue: no group of writes is split", async () => {
  const space = newSpace();
  const url = inject("redisUrl");
  const pool = createClientPool({ url, commandsQueueMaxLength: 20 }, { maximum: 1 });
  pool.on("error", () => {});
  await pool.connect();
  const store = new ClusteredRedisStore({
    client: pool,
    prefix: space.prefix,
    cluster: { channel: space.channel, subscriber: createClient({ url }), ...LONG_LEASE },
  });
  onTestFinished(async () => {
    await store.close();
    pool.destroy();
  });
  await whenLive(store);
  const sids = Array.from({ length: 30 }, (_, i) => `s${i}`);
  await Promise.all(sids.map((sid) => store.set(sid, sessionOf())));
  // Inside a transaction this would be QUEUED.
  expect(await pool.get(`${space.prefix}nobody`)).toBeNull();
  expect((await store.ids()).sort()).toEqual(sids.sort());
});

test("the store closes its own connection and leaves the client open", async () => {
  const { store, client, bus } = await startNode(newSpace());
  await store.close();
  await eventually(() => bus.connections === 0);
  expect(await client.ping()).toBe("PONG");
});

test("Symbol.asyncDispose closes", async () => {
  const { store, bus } = await startNode(newSpace());
  await store[Symbol.asyncDispose]();
  expect(store.clusterStats.state).toBe("off");
  await eventually(() => bus.connections === 0);
});

const versions: Record<string, typeof createClient> = {
  "node-redis 6": createClient,
  "node-redis 5": v5.createClient as never,
};

for (const [version, createWith] of Object.entries(versions)) {
  test(`with ${version}, a subscriber that is given up while it is being connected leaves no connection behind`, async () => {
    const space = newSpace();
    const direct = await directClient();
    const bus = await startProxy(inject("redisUrl"));
    onTestFinished(() => bus.close());
    let isHeld = true;
    const held: (() => void)[] = [];
    /** A name server that takes its time. */
    const lookup: LookupFunction = (_hostname, { all }, callback) => {
      const answer = () => {
        if (all) callback(null, [{ address: "127.0.0.1", family: 4 }]);
        else callback(null, "127.0.0.1", 4);
      };
      if (isHeld) held.push(answer);
      else answer();
    };
    const socket = { host: "localhost", port: bus.port, lookup, connectTimeout: 600_000 };
    const store = new ClusteredRedisStore({
      client: direct,
      prefix: space.prefix,
      cluster: {
        ...LONG_LEASE,
        channel: space.channel,
        subscriber: createWith({ socket }),
        subscribeTimeoutMs: 50,
      },
    });
    onTestFinished(() => store.close());
    await nextEvent(store, "clusterError");
    const givenUp = held.length;
    await store.close();
    isHeld = false;
    for (const answer of held) answer();
    await eventually(() => bus.accepted >= givenUp);
    await eventually(() => bus.connections === 0);
  });
}

test("a function for the subscription that throws later is an event, until it works again", async () => {
  const space = newSpace();
  const client = await directClient();
  let isBroken = false;
  const made: { destroy(): unknown }[] = [];
  const subscriber = () => {
    if (isBroken) throw new Error("no secret");
    const created = createClient({ url: inject("redisUrl") });
    made.push(created);
    return created;
  };
  const cluster = { channel: space.channel, subscriber, ...LONG_LEASE };
  const store = new ClusteredRedisStore({ client, prefix: space.prefix, cluster });
  onTestFinished(() => store.close());
  await whenLive(store);
  const failures: Error[] = [];
  store.on("clusterError", (error) => failures.push(error));
  isBroken = true;
  made[0]?.destroy();
  await eventually(() => failures.some(({ message }) => message === "Cannot subscribe: no secret"));
  expect(failures.map(({ name }) => name)).toEqual(failures.map(() => "SessionStoreError"));
  isBroken = false;
  await whenLive(store);
});
