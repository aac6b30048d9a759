import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  ClusteredRedisStore,
  type ClusteredRedisStoreOptions,
  type RedisStoreClient,
} from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, newSpace, refusalWhenReady, SHORT_LEASE, sessionOf, whenLive } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { freePort } from "../support/redis/free-port.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { catchWarnings, warningsEmitted } from "../support/warnings.ts";

/** What newcomers meet, and the message that names the fix: each as it happens, with a real Redis. */

type AnyClient = RedisStoreClient & {
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
};

const PASSWORD = "p-4711";
let redis: RedisServer;
let address: URL;
let admin: ReturnType<typeof createClient>;

beforeAll(async () => {
  redis = await startRedis({ own: true, args: ["--enable-protected-configs", "yes"] });
  address = new URL(redis.url);
  admin = createClient({ url: redis.url });
  await admin.connect();
  await admin.configSet("requirepass", PASSWORD);
});
afterAll(async () => {
  admin?.destroy();
  await redis?.stop();
});

function urlFor(username: string, password: string): string {
  const url = new URL(address);
  Object.assign(url, { username, password });
  return url.href;
}

/** Longer than a busy machine takes for a reply. */
const TIMEOUT_MS = 1_500;
/** For a store that does not become live. */
const GIVES_UP = { cluster: { subscribeTimeoutMs: TIMEOUT_MS } } as const;

/** A store on a client that need not be connected, with short times. */
function storeOn(client: AnyClient, options: Partial<ClusteredRedisStoreOptions> = {}) {
  const space = newSpace();
  const store = new ClusteredRedisStore({
    client,
    prefix: space.prefix,
    commandTimeoutMs: TIMEOUT_MS,
    ...options,
    cluster: {
      channel: space.channel,
      ...SHORT_LEASE,
      subscribeTimeoutMs: 60_000,
      ...(options.cluster as object),
    },
  });
  onTestFinished(async () => {
    await store.close();
    try {
      await client.destroy();
    } catch {}
  });
  return store;
}

async function connected<C extends AnyClient>(client: C): Promise<C> {
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Begins to connect, as an application does that does not wait. */
function connecting<C extends AnyClient>(client: C): C {
  client.on("error", () => {});
  client.connect().catch(() => {});
  return client;
}

const ownClient = () => connected(createClient({ url: urlFor("default", PASSWORD) }));

describe("a store that does not become live", () => {
  test("emits one process warning with the reason and the fix: +subscribe is missing", async () => {
    await admin.sendCommand([
      "ACL",
      "SETUSER",
      "mute",
      "reset",
      "on",
      ">x",
      "~*",
      "&*",
      "+@all",
      "-subscribe",
    ]);
    const warnings = catchWarnings();
    const store = storeOn(await connected(createClient({ url: urlFor("mute", "x") })), GIVES_UP);
    await eventually(() => warnings.length > 0);
    expect(warnings[0]).toMatchObject({ code: "WARN_CACHE_NOT_LIVE" });
    expect(warnings[0]?.message).toMatch(
      /^The session cache is not in use after 1500 ms: Cannot subscribe: NOPERM .*'subscribe'.*\(needed: \+subscribe &bus:/,
    );
    expect(warnings[0]?.detail).toMatch(/^Grant the Redis user the permissions that are missing/);
    expect(await store.get("s")).toBeNull();
    await refusalWhenReady(store, /needed: \+subscribe/);
    expect(warnings).toHaveLength(1);
  });

  test("a wrong password is named by the warning, and by the timeout of each operation", async () => {
    const warnings = catchWarnings();
    const store = storeOn(connecting(createClient({ url: urlFor("default", "wrong") })), GIVES_UP);
    await expect(store.get("s")).rejects.toThrow(
      /no answer in 1500 ms: the client is not connected; its last error: WRONGPASS /,
    );
    await eventually(() => warnings.length > 0);
    expect(warnings[0]?.message).toMatch(/: WRONGPASS .*\. Every read goes to Redis/);
    expect(warnings[0]?.detail).toMatch(/^Correct the user name and the password/);
  });

  test("AUTH as a command does not reach the subscription", async () => {
    const warnings = catchWarnings();
    const client = await connected(createClient({ url: address.href, RESP: 2 }));
    await client.auth({ password: PASSWORD });
    const store = storeOn(client as unknown as AnyClient, GIVES_UP);
    expect(await store.get("s")).toBeNull();
    await eventually(() => warnings.length > 0);
    expect(warnings[0]?.message).toMatch(/: Cannot subscribe: NOAUTH /);
    expect(warnings[0]?.detail).toMatch(
      /^Pass the password to createClient\(\), .* AUTH command does not reach/,
    );
  });

  test("emits none if clusterError has a listener, if it is live, or if it was closed", async () => {
    const warnings = catchWarnings();
    const url = `redis://127.0.0.1:${await freePort()}`;
    const failures: unknown[] = [];
    // Longer than a busy machine takes until a store is live.
    const subscribeTimeoutMs = 5_000;
    const options = { cluster: { subscribeTimeoutMs } };
    const listened = storeOn(connecting(createClient({ url })), options);
    listened.on("clusterError", (error: unknown) => failures.push(error));
    await storeOn(connecting(createClient({ url })), options).close();
    await whenLive(storeOn(await ownClient(), options));
    await new Promise((resolve) => setTimeout(resolve, subscribeTimeoutMs + 200));
    await warningsEmitted();
    await eventually(() => failures.length > 0);
    expect(warnings).toEqual([]);
  });
});

describe("a client that is not connected", () => {
  const clients: [string, (url: string) => AnyClient][] = [
    ["createClient", (url) => createClient({ url })],
    ["createClientPool", (url) => createClientPool({ url }) as unknown as AnyClient],
    ["createCluster", (url) => createCluster({ rootNodes: [{ url }] }) as unknown as AnyClient],
    ["createSentinel", (url) => sentinelAt(url)],
  ];
  const sentinelAt = (url: string) => {
    const { hostname: host, port } = new URL(url);
    return createSentinel({ name: "m", sentinelRootNodes: [{ host, port: Number(port) }] }) as AnyClient;
  };
  const subscriberFor = (name: string, url: string) =>
    name === "createClientPool" ? { cluster: { subscriber: createClient({ url }) } } : {};

  test.each(clients)("%s: connect() was not called", async (name, create) => {
    const store = storeOn(create(address.href), subscriberFor(name, address.href));
    store.on("clusterError", () => {});
    const reading = store.get("s");
    await expect(reading).rejects.toThrow(/^GETRANGE: The client is closed: connect\(\) was not called/);
    await expect(reading).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
  });

  test.each(clients)("%s: nothing listens at the address", async (name, create) => {
    const url = `redis://127.0.0.1:${await freePort()}`;
    const store = storeOn(connecting(create(url)), subscriberFor(name, url));
    store.on("clusterError", () => {});
    await expect(store.get("s")).rejects.toThrow(/its last error: connect ECONNREFUSED 127\.0\.0\.1/);
  });

  test("one that the application closed before the store", async () => {
    const client = createClient({ url: urlFor("default", PASSWORD) });
    const store = storeOn(client);
    store.on("clusterError", () => {});
    await client.connect();
    await whenLive(store);
    client.destroy();
    await expect(store.get("s")).rejects.toThrow(
      /^GETRANGE: The client is closed: the application closed it before the store$/,
    );
  });

  test("the store adds no listener for error: a client without one still throws", async () => {
    const client = createClient({ url: urlFor("default", PASSWORD) });
    const emitter = client as unknown as {
      emit(name: string, error: Error): boolean;
      listenerCount(name: string): number;
    };
    for (let i = 0; i < 3; i++) storeOn(client).on("clusterError", () => {});
    expect(emitter.listenerCount("error")).toBe(0);
    expect(() => emitter.emit("error", new Error("unhandled"))).toThrow("unhandled");
    await expect(storeOn(client).get("s")).rejects.toThrow(/its last error: unhandled/);
  });
});

describe("cluster.expiredEvents", () => {
  test("without notify-keyspace-events: live, and a warning that names the setting and its new value", async () => {
    const warnings = catchWarnings();
    await admin.configSet("notify-keyspace-events", "Kg");
    onTestFinished(async () => void (await admin.configSet("notify-keyspace-events", "")));
    await whenLive(storeOn(await ownClient(), { cluster: { expiredEvents: true } }));
    await eventually(() => warnings.length > 0);
    expect(warnings).toMatchObject([{ code: "WARN_EXPIRED_EVENTS" }]);
    expect(warnings[0]?.message).toMatch(/notify-keyspace-events of Redis is ".*" and lacks E or x/);
    expect(warnings[0]?.detail).toMatch(/CONFIG SET notify-keyspace-events [Kg]{2}Ex, /);
  });

  test("without permission for its channel: live, and a warning that names the channel", async () => {
    const rule = ["~*", "resetchannels", "&bus:*", "+@all", "-config"];
    await admin.sendCommand(["ACL", "SETUSER", "narrow", "reset", "on", ">x", ...rule]);
    const warnings = catchWarnings();
    const client = await connected(createClient({ url: urlFor("narrow", "x") }));
    const store = storeOn(client, { cluster: { expiredEvents: true } });
    await whenLive(store);
    await store.set("s", sessionOf());
    await cacheIn(store, "s");
    expect(warnings).toMatchObject([{ code: "WARN_EXPIRED_EVENTS" }]);
    expect(warnings[0]?.message).toMatch(
      /^cluster\.expiredEvents: Redis denies the channel __keyevent@0__:expired/,
    );
    expect(warnings[0]?.detail).toBe(
      "Grant the Redis user the channel: ACL SETUSER <user> &__keyevent@0__:expired",
    );
  });
});

describe("what an application does with the store's client, and Redis's settings", () => {
  test("it subscribes on it, with RESP 2", async () => {
    const client = await connected(createClient({ url: urlFor("default", PASSWORD), RESP: 2 }));
    const store = storeOn(client as unknown as AnyClient);
    await whenLive(store);
    store.on("clusterError", () => {});
    const suspect = nextEvent(store, "suspect");
    await client.subscribe("news", () => {});
    await suspect;
    await expect(store.get("s")).rejects.toThrow(
      /^GETRANGE: ERR Can't execute .getrange.: .* \(the application subscribes on the store's client: use client\.duplicate\(\) for that\)$/,
    );
  });

  test("it blocks on it: every operation times out, and the store is suspect", async () => {
    const client = await ownClient();
    const store = storeOn(client);
    await whenLive(store);
    store.on("clusterError", () => {});
    const suspect = nextEvent(store, "suspect");
    client.blPop("no-such-list", 30).catch(() => {});
    await expect(store.set("s", sessionOf())).rejects.toThrow(/: no answer in 1500 ms$/);
    await suspect;
  });

  test("it calls WATCH on it", async () => {
    const client = await ownClient();
    const store = storeOn(client, { localCache: false });
    await whenLive(store);
    store.on("clusterError", () => {});
    // Heartbeats are no transactions, so the watch lasts until the save.
    await client.watch("watched");
    await client.set("watched", "1");
    await expect(store.set("s", sessionOf())).rejects.toThrow(
      /^SET: .*watched keys has been changed \(the application calls WATCH on the store's client: /,
    );
  });

  test("Redis cannot save its snapshot (MISCONF)", async () => {
    const store = storeOn(await ownClient());
    await whenLive(store);
    store.on("clusterError", () => {});
    await store.set("s", sessionOf());
    const folder = mkdtempSync(join(tmpdir(), "snapshots-"));
    await admin.configSet({ dir: folder, save: "3600 1" });
    rmdirSync(folder);
    onTestFinished(async () => void (await admin.configSet("save", "")));
    await admin.sendCommand(["BGSAVE"]);
    await eventually(async () => (await admin.info("persistence")).includes("last_bgsave_status:err"));
    await expect(store.set("s", sessionOf({ n: 1 }))).rejects.toThrow(/^SET: MISCONF /);
    await expect(store.destroy("s")).rejects.toThrow(/^EVALSHA: .*MISCONF /);
    expect(await store.get("s")).not.toBeNull();
  });

  test("it passes a plain client to a Cluster", async () => {
    const cluster = await startCluster();
    onTestFinished(() => cluster.stop());
    const store = storeOn(await connected(createClient({ url: cluster.rootNodes[0]?.url as string })));
    store.on("clusterError", () => {});
    const reads = Array.from({ length: 20 }, (_, i) => store.get(`s${i}`));
    const failures = (await Promise.allSettled(reads)).filter(({ status }) => status === "rejected");
    expect(failures.length).toBeGreaterThan(0);
    for (const { reason } of failures as PromiseRejectedResult[]) {
      expect(reason.message).toMatch(
        /^GETRANGE: MOVED .* \(this Redis is a Cluster: .* createCluster\(\)\)$/,
      );
    }
  });
});

test("Redis accepts the longest ttl that the store accepts", async () => {
  const store = storeOn(await ownClient(), { ttl: 9_007_199_254_740 });
  await store.set("s", sessionOf({}, null));
  expect(await store.get("s")).not.toBeNull();
});
