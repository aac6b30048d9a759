import { spawn, spawnSync } from "node:child_process";
import type { LookupFunction } from "node:net";
import { fileURLToPath } from "node:url";
import {
  createClient,
  createClientPool,
  createCluster,
  createSentinel,
  type RedisClientOptions,
} from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import type { Connection } from "../../lib/redis/client.ts";
import { Silence } from "../../lib/redis/connections.ts";
import { errorMessage } from "../../lib/reporting/errors.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startProxy } from "../support/fault-proxy.ts";
import { type Client, directClient, newSpace, ownRedis, sessionOf, valuesOf } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { serverOnPath } from "../support/redis/process.ts";
import { startSentinels } from "../support/redis/sentinel.ts";
import * as v5 from "../support/redis-v5.ts";
import { placesOf } from "./clusters.ts";
import { type AnyClient, openStore, type StoreOptions } from "./stores.ts";

const TIMEOUT_MS = process.env["FIGURES"] ? 5_000 : 500;
const LEASE = { heartbeatMs: 50, leaseMs: 400, subscribeTimeoutMs: 3_000 } as const;

/** Leads every address that a client is told through a proxy of its own. */
class Detour {
  readonly #proxies = new Map<string, FaultProxy>();

  async add(url: string): Promise<FaultProxy> {
    const proxy = await startProxy(url);
    onTestFinished(() => proxy.close());
    this.#proxies.set(new URL(url).host, proxy);
    return proxy;
  }

  readonly map = (address: string): { host: string; port: number } | undefined => {
    const proxy = this.#proxies.get(address);
    return proxy && { host: "127.0.0.1", port: proxy.port };
  };

  /** All connections that are open become half-open. */
  halfOpen(): void {
    for (const proxy of this.#proxies.values()) proxy.halfOpen();
  }

  /** All connections are lost. The next ones are opened, and what is sent on them disappears. */
  async swallowHandshakes(): Promise<void> {
    const proxies = [...this.#proxies.values()];
    const seen = proxies.map((proxy) => proxy.seen("toServer", "SETINFO"));
    for (const proxy of proxies) {
      proxy.swallow("toServer");
      proxy.cut();
    }
    await Promise.any(seen);
    for (const proxy of proxies) proxy.pass();
  }
}

async function surviveHalfOpen(
  name: string,
  create: () => AnyClient,
  detour: Detour,
  options = {},
): Promise<void> {
  const space = newSpace();
  const { store } = await openStore(create, space, { commandTimeoutMs: TIMEOUT_MS, ...options });
  const sids = Array.from({ length: 30 }, (_, i) => `s${i}`);
  // In a Cluster, connections of every primary are in use.
  const writeAll = (v: number) => Promise.all(sids.map((sid) => store.set(sid, sessionOf({ v }))));
  await eventually(() => writeAll(1).then(() => true));
  const from = performance.now();
  detour.halfOpen();
  await eventually(() => store.clusterStats.reconnects > 0);
  const replacedAt = performance.now();
  await eventually(() => store.clusterStats.state === "live");
  const liveAt = performance.now();
  await eventually(() => writeAll(2).then(() => true));
  for (const sid of sids) expect(valuesOf(await eventually(() => store.get(sid)))).toEqual({ v: 2 });
  if (process.env["FIGURES"]) console.info(name, { replacedMs: replacedAt - from, liveMs: liveAt - from });
}

const redisVersions = {
  "node-redis 6": { createClient, createClientPool, createCluster, createSentinel },
  "node-redis 5": v5,
} as unknown as Record<string, typeof import("redis")>;

/** How to open a client of some kind, all of whose connections lead through a detour. */
interface Setup {
  readonly detour: Detour;
  readonly create: () => AnyClient;
  readonly cluster?: StoreOptions["cluster"];
}

/** What a user sets so that no handshake is waited for without a limit: see the guide. */
const LIMITED = {
  pingInterval: TIMEOUT_MS / 2,
  socket: {
    socketTimeout: TIMEOUT_MS,
    reconnectStrategy: (retries: number) => Math.min(retries * 50, 2_000),
  },
};

const setups: Record<string, (version: string, options?: object) => Promise<Setup>> = {
  client: async (version, options) => {
    const detour = new Detour();
    const { url } = await detour.add((await ownRedis()).url);
    return { detour, create: () => redisVersions[version]?.createClient({ url, ...options }) as AnyClient };
  },
  pool: async (version, options) => {
    const detour = new Detour();
    const { url } = await detour.add((await ownRedis()).url);
    const createPool = redisVersions[version]?.createClientPool;
    const create = () => createPool?.({ url, ...options }, { minimum: 3 }) as unknown as AnyClient;
    return { detour, create, cluster: { subscriber: () => createClient({ url }) } };
  },
  Cluster: async (version, options) => {
    const redis = await startCluster();
    onTestFinished(() => redis.stop());
    const detour = new Detour();
    for (const { url } of redis.nodes) await detour.add(url);
    const { rootNodes } = redis;
    const given = { rootNodes, nodeAddressMap: detour.map, ...(options && { defaults: options }) };
    return { detour, create: () => redisVersions[version]?.createCluster(given) as AnyClient };
  },
  Sentinel: async (version, options) => {
    const redis = await startSentinels();
    onTestFinished(() => redis.stop());
    const detour = new Detour();
    for (const { url } of redis.servers) await detour.add(url);
    const { name, sentinelRootNodes } = redis;
    const nodes = options && { nodeClientOptions: options };
    const given = { name, sentinelRootNodes, nodeAddressMap: detour.map, ...nodes };
    const create = () => redisVersions[version]?.createSentinel(given) as AnyClient;
    return { detour, create, ...(version.includes("5") && { cluster: { subscriber: create } }) };
  },
};

describe.each(Object.keys(redisVersions))("%s", (version) => {
  describe.each(Object.entries(setups))("%s", (kind, setUp) => {
    test("half-open connections are replaced", async () => {
      const { detour, create, cluster } = await setUp(version);
      await surviveHalfOpen(`${kind}, ${version}`, create, detour, { cluster: { ...LEASE, ...cluster } });
    });

    test("a handshake that is not answered is given up, with socketTimeout", async () => {
      const { detour, create, cluster } = await setUp(version, LIMITED);
      const { store } = await openStore(create, newSpace(), { cluster: { ...LEASE, ...cluster } });
      // With limits this short, a machine that stands still for a moment loses connections.
      await eventually(() => store.set("s", sessionOf({ v: 1 })).then(() => true));
      const from = performance.now();
      await detour.swallowHandshakes();
      await eventually(() => store.set("s", sessionOf({ v: 2 })).then(() => true));
      if (process.env["FIGURES"]) console.info(kind, version, { answeredMs: performance.now() - from });
      expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 2 });
      await eventually(() => store.clusterStats.state === "live");
    });
  });
});

test.each(Object.keys(redisVersions))(
  "Cluster, %s: a slot moves while no new connection is answered",
  async (version) => {
    const redis = await startCluster({ replicas: false });
    onTestFinished(() => redis.stop());
    const detour = new Detour();
    const proxies = await Promise.all(redis.nodes.map(({ url }) => detour.add(url)));
    const { rootNodes } = redis;
    const space = newSpace();
    const create = () =>
      redisVersions[version]?.createCluster({ rootNodes, nodeAddressMap: detour.map }) as AnyClient;
    const { store } = await openStore(create, space);
    await store.set("s", sessionOf({ v: 1 }));
    const { slot, from, to } = await placesOf(redis, `${space.prefix}s`);
    // node-redis discovers the Cluster on a new connection, which begins with that command.
    for (const proxy of proxies) proxy.hold("toClient", "SETINFO");
    await redis.moveSlot(slot, from, to);
    await store.set("s", sessionOf({ v: 2 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
    for (const proxy of proxies) proxy.release("toClient");
    await eventually(() => store.clusterStats.state === "live");
  },
);

/** A command has been sent on a connection. */
function track(silence: Silence, connection: Connection, reply: Promise<unknown>): void {
  const settle = silence.begin(connection);
  reply.then(
    () => settle(true),
    () => settle(false),
  );
}

test("one new connection is enough for all silent ones: many would be a burden to a stalled Redis", async () => {
  const proxy = await startProxy((await ownRedis()).url);
  onTestFinished(() => proxy.close());
  const clients = Array.from({ length: 20 }, () => createClient({ url: proxy.url }));
  onTestFinished(() => {
    for (const client of clients) client.destroy();
  });
  await Promise.all(clients.map((client) => client.on("error", () => {}).connect()));
  proxy.halfOpen();
  const replaced = new Set<unknown>();
  const silence = new Silence((connection) => replaced.add(connection));
  let opened = 0;
  for (const client of clients) {
    track(silence, client as Connection, client.ping());
    const duplicate = client.duplicate.bind(client);
    client.duplicate = ((overrides: object) => {
      opened++;
      return duplicate(overrides);
    }) as typeof client.duplicate;
  }
  const check = () => silence.check(2_000, () => {});
  await eventually(() => check() && opened > 0);
  for (let i = 0; i < 3; i++) check();
  expect(opened).toBe(1);
  await eventually(() => check() && replaced.size === clients.length);
});

/** A connection that is silent because of what it carries, while Redis refuses new ones like it. */
interface HeldBack {
  readonly options?: RedisClientOptions;
  /** Sends what is not answered. @returns its outcome, and what lets Redis answer */
  hold(client: Client, admin: Client): Promise<{ outcome: Promise<unknown>; release(): Promise<unknown> }>;
  readonly expected: unknown;
}

async function pauseWrites(client: Client, admin: Client) {
  await admin.sendCommand(["CLIENT", "PAUSE", "600000", "WRITE"]);
  return { outcome: client.incr("n"), release: () => admin.sendCommand(["CLIENT", "UNPAUSE"]) };
}

const refusals: Record<string, HeldBack> = {
  "its password was changed": {
    options: { username: "app", password: "old" },
    hold: async (client, admin) => {
      await admin.sendCommand(["ACL", "SETUSER", "app", "resetpass", ">new"]);
      return pauseWrites(client, admin);
    },
    expected: 1,
  },
  "there are too many clients": {
    hold: async (client, admin) => {
      await admin.sendCommand(["CONFIG", "SET", "maxclients", "2"]);
      return pauseWrites(client, admin);
    },
    expected: 1,
  },
  "Redis runs its script, and refuses to select a database": {
    options: { database: 3 },
    hold: async (client, admin) => {
      await admin.sendCommand(["CONFIG", "SET", "lua-time-limit", "1"]);
      const outcome = client.eval("while true do end", { keys: [], arguments: [] }).catch(errorMessage);
      await eventually(() => admin.ping().catch((error) => errorMessage(error).startsWith("BUSY")));
      return { outcome, release: () => admin.sendCommand(["SCRIPT", "KILL"]) };
    },
    expected: expect.stringContaining("killed by user"),
  },
};

test.each(Object.entries(refusals))(
  "a silent connection stays open when Redis refuses another one: %s",
  async (_, { options, hold, expected }) => {
    const { url } = await ownRedis();
    const admin = await directClient({ url });
    await admin.sendCommand(["ACL", "SETUSER", "app", "on", ">old", "~*", "&*", "+@all"]);
    const client = createClient({ url, ...options });
    onTestFinished(() => client.destroy());
    await client.on("error", () => {}).connect();
    const { outcome, release } = await hold(client as unknown as Client, admin);
    const silence = new Silence((connection) => connection.destroy?.());
    track(silence, client as Connection, outcome);
    let opened = 0;
    const duplicate = client.duplicate.bind(client);
    client.duplicate = ((overrides: object) => {
      opened++;
      return duplicate(overrides);
    }) as typeof client.duplicate;
    // The third one is opened when two have been refused.
    await eventually(() => !silence.check(500, () => {}) || opened === 3);
    await release();
    expect(await outcome).toEqual(expected);
  },
);

/** No heartbeat takes the pool's connection that is being opened. */
const poolOptions = (url: string): StoreOptions => ({
  commandTimeoutMs: TIMEOUT_MS,
  cluster: { heartbeatMs: 60_000, leaseMs: 120_000, subscriber: () => createClient({ url }) },
});

/** More sessions than a pool of two has connections. */
const sids = ["a", "b", "c", "d"];

const writeSeveral = (store: ClusteredRedisStore, v: number) =>
  Promise.allSettled(sids.map((sid) => store.set(sid, sessionOf({ v }))));

const isFailed = ({ status }: PromiseSettledResult<void>) => status === "rejected";

test.each(Object.keys(redisVersions))(
  "pool, %s: a connection that is never opened again holds up no session",
  async (version) => {
    const { url } = await ownRedis();
    const proxy = await startProxy(url);
    onTestFinished(() => proxy.close());
    const create = () => {
      const createPool = redisVersions[version]?.createClientPool;
      return createPool?.(
        { url: proxy.url, name: "pooled" },
        { minimum: 2, maximum: 2 },
      ) as unknown as AnyClient;
    };
    const { store } = await openStore(create, newSpace(), poolOptions(url));
    const writeAll = (v: number) => writeSeveral(store, v);
    const admin = await directClient({ url });
    const [, id = ""] =
      /id=(\d+) .* name=pooled/.exec(String(await admin.sendCommand(["CLIENT", "LIST"]))) ?? [];
    proxy.hold("toClient", "SETINFO");
    const opening = proxy.seen("toServer", "SETINFO");
    await admin.sendCommand(["CLIENT", "KILL", "ID", id]);
    await opening;
    await eventually(async () => (await writeAll(1)).some(isFailed));
    await eventually(async () => !(await writeAll(2)).some(isFailed));
    proxy.release("toClient");
    // Both connections are in use again.
    for (let i = 0; i < 4; i++)
      await Promise.allSettled([store.set("e", sessionOf()), store.set("f", sessionOf())]);
    for (const sid of sids) expect(valuesOf(await eventually(() => store.get(sid)))).toEqual({ v: 2 });
  },
);

test.each(Object.keys(redisVersions))(
  "pool, %s: what times out on a connection that is being opened is not written later",
  async (version) => {
    const { url } = await ownRedis();
    const proxy = await startProxy(url);
    onTestFinished(() => proxy.close());
    let addressKnown = Promise.resolve();
    const lookup: LookupFunction = (_, { all }, callback) => {
      const found = { address: "127.0.0.1", family: 4 };
      void addressKnown.then(() => callback(null, all ? [found] : found.address, found.family));
    };
    let onLost = () => {};
    let idle = () => Number.NaN;
    const create = () => {
      const socket = { host: "localhost", port: proxy.port, lookup };
      const createPool = redisVersions[version]?.createClientPool;
      const pool = createPool?.({ socket, name: "pooled" }, { minimum: 2, maximum: 2 });
      pool?.on("error", () => onLost());
      idle = () => Number(pool?.idleClients);
      return pool as unknown as AnyClient;
    };
    const space = newSpace();
    const { store } = await openStore(create, space, poolOptions(url));
    const writeAll = (v: number) => writeSeveral(store, v);
    const admin = await directClient({ url });
    const pooled = async () => [
      ...String(await admin.sendCommand(["CLIENT", "LIST"])).matchAll(/id=(\d+) .* name=pooled /g),
    ];
    const [[, id = ""] = []] = await pooled();
    const lost = new Promise<void>((resolve) => {
      onLost = resolve;
    });
    let onAddressKnown = () => {};
    addressKnown = new Promise((resolve) => {
      onAddressKnown = resolve;
    });
    await admin.sendCommand(["CLIENT", "KILL", "ID", id]);
    await lost;
    const writing = writeAll(1);
    await eventually(() => idle() < 2);
    for (let i = 0; i < 3; i++) await new Promise(setImmediate);
    // node-redis writes what it has queued by now together with its first commands.
    proxy.hold("toServer", "SETINFO");
    onAddressKnown();
    expect((await writing).some(isFailed)).toBe(true);
    await eventually(async () => !(await writeAll(2)).some(isFailed));
    proxy.release("toServer");
    // Redis has read what was held.
    await eventually(async () => (await pooled()).length === 2);
    for (const sid of sids) {
      const value = await admin.get(space.prefix + sid);
      expect(JSON.parse(value ?? "null")).toMatchObject({ v: 2 });
    }
  },
);

test("a connection that is being opened is not taken for a half-open one", async () => {
  const proxy = await startProxy((await ownRedis()).url);
  onTestFinished(() => proxy.close());
  const client = createClient({ url: proxy.url });
  client.on("error", () => {});
  onTestFinished(() => client.destroy());
  proxy.hold("toClient", "SETINFO");
  const seen = proxy.seen("toServer", "SETINFO");
  const connecting = client.connect();
  await seen;
  const silence = new Silence(() => {});
  let opened = 0;
  client.duplicate = (() => opened++) as unknown as typeof client.duplicate;
  track(silence, client as Connection, client.ping());
  expect(silence.check(0, () => {})).toBe(true);
  expect(opened).toBe(0);
  proxy.release("toClient");
  await connecting;
});

/** Whether this machine lets a process drop packets, in a network of its own. */
function hasNamespaces(): boolean {
  if (process.env["TEST_REDIS"] === "docker" || serverOnPath() === undefined) return false;
  return spawnSync("unshare", ["-rn", "ip", "rule"]).status === 0;
}

test("a data connection on which packets are dropped is replaced", async () => {
  const means = hasNamespaces() ? "namespace" : "proxy";
  const file = fileURLToPath(new URL("dropped-packets.ts", import.meta.url));
  const command = [process.execPath, "--import", "tsx", file, means];
  const [program, ...args] = means === "namespace" ? ["unshare", "-rn", ...command] : command;
  const child = spawn(program as string, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill());
  let output = "";
  for await (const chunk of child.stdout) output += chunk;
  if (process.env["FIGURES"]) console.info("packets dropped,", means, output);
  expect(JSON.parse(output)).toMatchObject({ isServed: true });
});
