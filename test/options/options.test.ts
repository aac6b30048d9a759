import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import { createClient as createClientOf5 } from "redis-v5";
import { describe, expect, test } from "vitest";
import { type ClusteredRedisStoreOptions, resolveOptions } from "../../lib/options/options.ts";

const client = createClient();
const pool = createClientPool();

/** As JavaScript calls it: with anything. */
function resolve(options: Record<string, unknown>) {
  return resolveOptions({ client, ...options } as unknown as ClusteredRedisStoreOptions);
}

describe("defaults", () => {
  test("are those of the documentation", () => {
    const { cluster, ...others } = resolveOptions({ client });
    expect(others).toEqual({
      client,
      prefix: "sess:",
      ttl: 86_400,
      disableTTL: false,
      disableTouch: false,
      serializer: JSON,
      codec: undefined,
      onCorrupt: "error",
      scanCount: 100,
      localCache: { ttlMs: 30_000, maxSize: 10_000, maxBytes: 67_108_864, staleIfErrorMs: 0 },
      merge: undefined,
      touchAfterMs: undefined,
      commandTimeoutMs: 5_000,
    });
    const { nodeId, ...known } = cluster ?? { nodeId: "" };
    expect(known).toEqual({
      channel: "session:cluster:invalidate",
      expiredEvents: false,
      tracking: false,
      subscribeTimeoutMs: 5_000,
      heartbeatMs: 1_000,
      leaseMs: 3_000,
      subscriber: client,
    });
    expect(nodeId).toMatch(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/);
  });

  test("replace undefined and null", () => {
    const names = ["prefix", "ttl", "disableTTL", "disableTouch", "serializer", "scanCount", "localCache"];
    names.push("touchAfterMs", "commandTimeoutMs", "onConflict", "resolveConflict", "codec", "onCorrupt");
    const inGroups = { ttlMs: null, maxSize: undefined, enabled: null };
    const all = resolve({
      ...Object.fromEntries(names.map((name, i) => [name, i % 2 === 0 ? undefined : null])),
      localCache: inGroups,
      cluster: { nodeId: "n", heartbeatMs: null, leaseMs: undefined, subscriber: null },
    });
    expect(all).toEqual(resolve({ cluster: { nodeId: "n" } }));
  });

  test("give every store a label of its own", () => {
    expect(resolve({}).cluster?.nodeId).not.toBe(resolve({}).cluster?.nodeId);
  });
});

describe("values that are passed", () => {
  const ttl = () => 60;
  const serializer = { parse: JSON.parse, stringify: JSON.stringify };
  const plain: [string, unknown][] = [
    ["prefix", "app:"],
    ["prefix", ""],
    ["prefix", "p".repeat(1_024)],
    ["ttl", 0.005],
    ["ttl", ttl],
    ["disableTTL", true],
    ["disableTouch", true],
    ["serializer", serializer],
    ["codec", { encode: String, decode: String }],
    ["onCorrupt", "none"],
    ["scanCount", 1],
    ["touchAfterMs", 0],
    ["touchAfterMs", 1.5],
    ["commandTimeoutMs", 1],
    ["commandTimeoutMs", 2 ** 31 - 1],
  ];
  test.each(plain)("%s: %s", (name, value) => {
    expect(resolve({ [name]: value })).toHaveProperty(name, value);
  });

  test("localCache", () => {
    const localCache = { ttlMs: 1, maxSize: 1, maxBytes: 1, staleIfErrorMs: 1 };
    expect(resolve({ localCache: { ...localCache, enabled: true } }).localCache).toEqual(localCache);
  });

  test("cluster", () => {
    const subscriber = createClient();
    const cluster = {
      nodeId: "n",
      channel: "c",
      subscribeTimeoutMs: 1,
      heartbeatMs: 1,
      leaseMs: 2,
      subscriber,
      expiredEvents: true,
      tracking: true,
    };
    expect(resolve({ cluster }).cluster).toEqual(cluster);
  });

  test("onConflict and resolveConflict", () => {
    const resolveConflict = () => undefined;
    expect(resolve({ onConflict: "overwrite" }).merge).toBeUndefined();
    expect(resolve({ onConflict: "merge" }).merge).toEqual({ resolve: undefined });
    expect(resolve({ onConflict: "merge", resolveConflict }).merge).toEqual({ resolve: resolveConflict });
  });
});

describe("switching a group off and on", () => {
  test("staleIfErrorMs needs the messages that verify the cache", () => {
    const options = { localCache: { staleIfErrorMs: 1 }, cluster: false };
    expect(() => resolve(options)).toThrow(
      "localCache.staleIfErrorMs: expected 0 with cluster: false, which verifies nothing, got 1",
    );
  });

  test.each(["localCache", "cluster"] as const)("%s: false is short for { enabled: false }", (group) => {
    expect(resolve({ [group]: false })[group]).toBeUndefined();
    expect(resolve({ [group]: { enabled: false } })[group]).toBeUndefined();
  });

  test.each([true, {}, { enabled: true }])("localCache and cluster: %j is the default", (value) => {
    const on = resolve({ localCache: value, cluster: value });
    expect(on.localCache).toEqual(resolve({}).localCache);
    expect(on.cluster).toEqual({ ...resolve({}).cluster, nodeId: on.cluster?.nodeId });
  });

  test("one group is switched off without the other", () => {
    expect(resolve({ localCache: false }).cluster).toBeDefined();
    expect(resolve({ cluster: false }).localCache).toBeDefined();
  });
});

describe("wrong options are TypeErrors that name the option, what it takes and what it got", () => {
  const milliseconds = "a number of milliseconds from 1 to 2147483647";
  const ttl =
    "a positive number of seconds, at most 9007199254740, or a function of the session (for sessions that never expire: disableTTL)";
  const wrong: [name: string, value: unknown, takes: string, got: string][] = [
    ["prefix", 1, "a string of 0 to 1024 characters", "1"],
    ["prefix", "p".repeat(1_025), "a string of 0 to 1024 characters", "a string"],
    ["prefix", Buffer.from("sess:"), "a string of 0 to 1024 characters", "an object (Buffer)"],
    ["ttl", 0, ttl, "0"],
    ["ttl", -1, ttl, "-1"],
    ["ttl", Number.NaN, ttl, "NaN"],
    ["ttl", Number.POSITIVE_INFINITY, ttl, "Infinity"],
    ["ttl", "86400", ttl, '"86400"'],
    ["ttl", {}, ttl, "an object (Object)"],
    ["disableTTL", "yes", "a boolean", '"yes"'],
    ["disableTTL", 0, "a boolean", "0"],
    ["disableTouch", 1, "a boolean", "1"],
    ["serializer", {}, "an object with the functions parse and stringify", "an object (Object)"],
    ["serializer", { parse: JSON.parse }, "an object with the functions parse and stringify", "an object"],
    ["serializer", "json", "an object with the functions parse and stringify", '"json"'],
    ["codec", { encode: String }, "an object with the functions encode and decode", "an object (Object)"],
    ["codec", "aes", "an object with the functions encode and decode", '"aes"'],
    ["onCorrupt", "null", '"error" or "none"', '"null"'],
    ["scanCount", 0, "a positive whole number", "0"],
    ["scanCount", 1.5, "a positive whole number", "1.5"],
    ["scanCount", "100", "a positive whole number", '"100"'],
    ["touchAfterMs", -1, "0 or a positive number of milliseconds", "-1"],
    ["touchAfterMs", Number.NaN, "0 or a positive number of milliseconds", "NaN"],
    ["touchAfterMs", "0", "0 or a positive number of milliseconds", '"0"'],
    ["commandTimeoutMs", 0, milliseconds, "0"],
    ["commandTimeoutMs", 2 ** 31, milliseconds, "2147483648"],
    ["commandTimeoutMs", false, milliseconds, "false"],
    ["onConflict", "merged", '"overwrite" or "merge"', '"merged"'],
    ["onConflict", true, '"overwrite" or "merge"', "true"],
    ["resolveConflict", "mine", "a function", '"mine"'],
    ["localCache", 5, "an object or a boolean", "5"],
    ["localCache", "off", "an object or a boolean", '"off"'],
    ["localCache", [], "an object", "an array"],
    ["localCache.enabled", "no", "a boolean", '"no"'],
    ["localCache.ttlMs", 0, milliseconds, "0"],
    ["localCache.ttlMs", "30s", milliseconds, '"30s"'],
    ["localCache.staleIfErrorMs", -1, "0 or a number of milliseconds", "-1"],
    ["localCache.maxSize", 0, "a whole number from 1 to 16777216", "0"],
    ["localCache.maxSize", 0.5, "a whole number from 1 to 16777216", "0.5"],
    ["localCache.maxSize", 16_777_217, "a whole number from 1 to 16777216", "16777217"],
    ["localCache.maxBytes", -1, "a positive whole number", "-1"],
    ["localCache.maxBytes", Number.POSITIVE_INFINITY, "a positive whole number", "Infinity"],
    ["cluster", () => {}, "an object or a boolean", "a function"],
    ["cluster.enabled", 1, "a boolean", "1"],
    ["cluster.nodeId", "", "a string of 1 to 256 characters", '""'],
    ["cluster.nodeId", "n".repeat(257), "a string of 1 to 256 characters", "a string of 257 characters"],
    ["cluster.nodeId", 7, "a string of 1 to 256 characters", "7"],
    ["cluster.channel", "", "a string of 1 to 1024 characters", '""'],
    ["cluster.channel", ["c"], "a string of 1 to 1024 characters", "an array"],
    ["cluster.subscribeTimeoutMs", 0, milliseconds, "0"],
    ["cluster.heartbeatMs", Number.NaN, milliseconds, "NaN"],
    ["cluster.leaseMs", {}, milliseconds, "an object (Object)"],
    ["cluster.leaseMs", 1_000, "more than cluster.heartbeatMs (1000)", "1000"],
    ["cluster.subscriber", {}, 'a client of the "redis" package', "an object (Object)"],
  ];
  test.each(wrong)("%s: %s", (name, value, takes, got) => {
    const [first, second] = name.split(".") as [string, string | undefined];
    const build = () => resolve({ [first]: second === undefined ? value : { [second]: value } });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(`${name}: expected ${takes}`);
    expect(build).toThrow(`, got ${got}`);
  });

  test("resolveConflict without merging", () => {
    const build = () => resolve({ resolveConflict: () => undefined });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(/^onConflict: expected "merge", because resolveConflict is set, got undefined$/);
  });

  test("a lease that is no longer than the heartbeat that is given", () => {
    const build = () => resolve({ cluster: { heartbeatMs: 5_000 } });
    expect(build).toThrow(/^cluster\.leaseMs: expected more than cluster\.heartbeatMs \(5000\), got 3000$/);
  });

  test.each(["localCache", "cluster"])(
    "an option of %s that does not exist, naming those that do",
    (group) => {
      const build = () => resolve({ [group]: { maxEntries: 1 } });
      expect(build).toThrow(TypeError);
      expect(build).toThrow(
        new RegExp(`^${group}\\.maxEntries: there is no such option; the options are enabled, `),
      );
    },
  );

  test.each([undefined, null, 5, "redis://"])("no options but %s", (options) => {
    const build = () => resolveOptions(options as unknown as ClusteredRedisStoreOptions);
    expect(build).toThrow(TypeError);
    expect(build).toThrow(/^options: expected an object, got /);
  });
});

describe("clients", () => {
  test.each([
    ["createClient", client],
    ["createClient of node-redis 5", createClientOf5()],
    ["createCluster", createCluster({ rootNodes: [] })],
    ["createSentinel", createSentinel({ name: "mymaster", sentinelRootNodes: [] })],
  ])("%s is accepted, for the subscription, too", (_, given) => {
    const { client: taken, cluster } = resolveOptions({ client: given });
    expect([taken, cluster?.subscriber]).toEqual([given, given]);
  });

  const notClients: [string, unknown, string][] = [
    ["none", undefined, "undefined"],
    ["null", null, "null"],
    ["a URL", "redis://localhost", '"redis://localhost"'],
    ["an object", {}, "an object (Object)"],
    ["a promise of one", Promise.resolve(client), "an object (Promise)"],
    ["an ioredis client", { status: "ready", multi() {}, duplicate() {} }, "an ioredis client"],
    [
      "a client of node-redis 4",
      { isOpen: true, multi() {}, duplicate() {}, subscribe() {} },
      "node-redis 4 or older",
    ],
  ];
  test.each(notClients)("%s is rejected, with what to pass", (_, given, got) => {
    const build = () => resolveOptions({ client: given } as unknown as ClusteredRedisStoreOptions);
    expect(build).toThrow(TypeError);
    expect(build).toThrow('client: expected a client of the "redis" package (node-redis 5 or 6)');
    expect(build).toThrow(`, got ${got}`);
  });

  test("a Cluster client whose queue is bounded is rejected, with the reason", () => {
    const bounded = createCluster({ rootNodes: [], defaults: { commandsQueueMaxLength: 10 } });
    const build = () => resolveOptions({ client: bounded });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(
      /^client: expected a Cluster client without commandsQueueMaxLength \(.*\), got 10$/,
    );
  });

  test("a pool needs a client for the subscription, and the error says so", () => {
    const build = () => resolveOptions({ client: pool });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(
      /^cluster\.subscriber: a pool cannot .* createClient\(\) here, or .*localCache: false, cluster: false\)$/,
    );
  });

  test("a pool as the subscriber is rejected", () => {
    const build = () => resolve({ cluster: { subscriber: pool } });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(/^cluster\.subscriber \(given a pool\): /);
  });

  test("a pool with a client for the subscription is accepted", () => {
    const resolved = resolveOptions({ client: pool, cluster: { subscriber: client } });
    expect([resolved.client, resolved.cluster?.subscriber]).toEqual([pool, client]);
  });

  test("a function for the subscription is called by the constructor, and its client is the first that is used", () => {
    const made = [createClient(), createClient()];
    let calls = 0;
    const subscriber = () => made[calls++] as typeof client;
    const source = resolveOptions({ client: pool, cluster: { subscriber } }).cluster?.subscriber;
    expect(calls).toBe(1);
    const create = source as () => unknown;
    expect([create(), create()]).toEqual(made);
    expect([create.length, calls]).toEqual([0, 2]);
  });

  const open = Object.create(createClient(), { isOpen: { value: true } });
  const sentinel = createSentinel({ name: "mymaster", sentinelRootNodes: [] });
  const wrong: [string, unknown, unknown, string][] = [
    ["a promise", client, Promise.resolve(client), "a Promise: return the client, and the store connects it"],
    ["client itself", client, client, "client itself"],
    ["a pool that is client", pool, pool, "client itself"],
    ["a client that is open", client, open, "one that is open: the store connects it"],
    ["nothing", client, undefined, "undefined"],
    ["a pool", client, pool, "a pool client"],
    ["a single client beside a Sentinel client", sentinel, createClient(), "a single client"],
    ["a Sentinel client beside a single one", client, sentinel, "a sentinel client"],
  ];
  test.each(wrong)("a function for the subscription that returns %s is rejected", (_, given, made, got) => {
    const example = given === sentinel ? "createSentinel(…)" : "createClient(…)";
    expect(() => resolve({ client: given, cluster: { subscriber: () => made } })).toThrow(
      new TypeError(
        `cluster.subscriber: expected a function that returns a new client on each call: () => ${example}, got ${got}`,
      ),
    );
  });

  test("a pool needs none with cluster: false", () => {
    expect(resolveOptions({ client: pool, cluster: false }).client).toBe(pool);
    expect(resolveOptions({ client: pool, cluster: { enabled: false } }).client).toBe(pool);
  });
});
