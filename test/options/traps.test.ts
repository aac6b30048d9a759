import type { SessionData } from "express-session";
import { createClient, createClientPool, createCluster } from "redis";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { ClusteredRedisStoreOptions } from "../../lib/options/options.ts";
import { catchWarnings, warningsEmitted } from "../support/warnings.ts";

const client = createClient();

/** A fresh copy of the module, since a warning is emitted once per process. */
async function freshResolve() {
  vi.resetModules();
  const { resolveOptions } = await import("../../lib/options/options.ts");
  return (options: unknown) => resolveOptions(options as ClusteredRedisStoreOptions);
}

let resolve: Awaited<ReturnType<typeof freshResolve>>;
beforeEach(async () => {
  await warningsEmitted();
  resolve = await freshResolve();
});

describe("cluster: false with the cache enabled", () => {
  test.each([{ cluster: false }, { cluster: { enabled: false } }])(
    "%j emits one process warning with its code and the fix",
    async (options) => {
      const warnings = catchWarnings();
      resolve({ client, ...options });
      resolve({ client, ...options });
      await warningsEmitted();
      expect(warnings).toHaveLength(1);
      expect(warnings[0]).toMatchObject({ code: "WARN_CACHE_NOT_INVALIDATED" });
      expect(warnings[0]?.message).toMatch(
        /^cluster: false disables .* for up to 30000 ms .* Redis Cluster\.$/,
      );
      expect(warnings[0]?.detail).toMatch(
        /^Remove cluster: false; .* localCache: true .* localCache: false /,
      );
    },
  );

  test.each([true, false, {}, { enabled: true }, { enabled: false }, { ttlMs: 1 }])(
    "is silent with localCache: %j",
    async (localCache) => {
      const warnings = catchWarnings();
      resolve({ client, cluster: false, localCache });
      await warningsEmitted();
      expect(warnings).toEqual([]);
    },
  );

  test("no error recommends it while the cache is enabled", () => {
    expect(() => resolve({ client: createClientPool() })).toThrow(
      /or disable the cache as well .*\(localCache: false, cluster: false\)$/,
    );
  });
});

describe("unknown options", () => {
  const wrong: [name: string, replacement: string][] = [
    ["localcache", "use localCache"],
    ["local_cache", "use localCache"],
    ["Prefix", "use prefix"],
    ["scan_count", "use scanCount"],
    ["maxAge", "use cookie.maxAge of express-session (milliseconds) or ttl (seconds)"],
    ["ttlMs", "use localCache.ttlMs"],
    ["maxSize", "use localCache.maxSize"],
    ["maxBytes", "use localCache.maxBytes"],
    ["max", "use localCache.maxSize"],
    ["cache", "use localCache"],
    ["local_cache_enabled", "use localCache"],
    ["local_cache_ttl", "use localCache.ttlMs"],
    ["local_cache_max_size", "use localCache.maxSize"],
    ["node_id", "use cluster.nodeId"],
    ["channel", "use cluster.channel"],
    ["leaseMs", "use cluster.leaseMs"],
    ["subscribe_timeout", "use cluster.subscribeTimeoutMs"],
    ["subscriber", "use cluster.subscriber"],
    ["enabled", "use localCache.enabled or cluster.enabled"],
    ["redis", "use client"],
    ["host", "it belongs to the client: createClient({ url })"],
    ["port", "it belongs to the client: createClient({ url })"],
    ["url", "it belongs to the client: createClient({ url })"],
    // Of connect-redis 3, besides host, port, url and socket.
    ["pass", "it belongs to the client: createClient({ url })"],
    ["db", "it belongs to the client: createClient({ url })"],
    ["unref", "use client.unref()"],
    ["logErrors", 'use client.on("error", …)'],
    ["touchAfter", "use touchAfterMs, in milliseconds"],
    ["secret", "it belongs to express-session"],
    ["cookie", "it belongs to express-session"],
  ];
  test.each(wrong)("%s is a TypeError that names the right one", (name, replacement) => {
    const build = () => resolve({ client, [name]: 1 });
    expect(build).toThrow(TypeError);
    expect(build).toThrow(`${name}: there is no such option; ${replacement}`);
  });

  test("any other emits one process warning per name, and lists the options", async () => {
    const warnings = catchWarnings();
    resolve({ client, compression: true, shards: 2 });
    resolve({ client, compression: false });
    await warningsEmitted();
    expect(warnings.map(({ message }) => message)).toEqual([
      "compression: ClusteredRedisStore has no such option, and ignores it.",
      "shards: ClusteredRedisStore has no such option, and ignores it.",
    ]);
    expect(warnings[0]).toMatchObject({ code: "WARN_UNKNOWN_OPTION" });
    expect(warnings[0]?.detail).toMatch(/^The options are client, prefix, ttl, .*commandTimeoutMs/);
  });

  test("undefined and null stand for absent, whatever the name", async () => {
    const warnings = catchWarnings();
    resolve({ client, maxAge: undefined, host: null, compression: undefined });
    await warningsEmitted();
    expect(warnings).toEqual([]);
  });

  test("names of Object.prototype are unknown like any other", async () => {
    const warnings = catchWarnings();
    resolve({ client, toString: 1, constructor: 1 });
    await warningsEmitted();
    expect(warnings.map(({ code }) => code)).toEqual(["WARN_UNKNOWN_OPTION", "WARN_UNKNOWN_OPTION"]);
  });
});

describe("ttl in milliseconds instead of seconds", () => {
  const MAX_TTL_S = 9_007_199_254_740;

  test("above what Redis accepts it is rejected", () => {
    expect(resolve({ client, ttl: MAX_TTL_S }).ttl).toBe(MAX_TTL_S);
    expect(() => resolve({ client, ttl: MAX_TTL_S + 1 })).toThrow(
      /^ttl: expected a positive number of seconds, at most 9007199254740, or .*, got 9007199254741$/,
    );
  });

  test("above 400 days it emits a process warning", async () => {
    const warnings = catchWarnings();
    resolve({ client, ttl: 400 * 86_400 });
    await warningsEmitted();
    expect(warnings).toEqual([]);
    resolve({ client, ttl: 86_400_000 });
    await warningsEmitted();
    expect(warnings.map(({ message }) => message)).toEqual([
      "ttl: 86400000 seconds are 1000 days, more than the 400 days that browsers keep a cookie.",
    ]);
    expect(warnings[0]).toMatchObject({ code: "WARN_TTL_IN_MILLISECONDS" });
    expect(warnings[0]?.detail).toMatch(/by 1000: ttl: 86400\. /);
  });

  test("the same holds for what a function returns", async () => {
    const { lifetimeMs } = await import("../../lib/sessions/lifetime.ts");
    const session = { cookie: { originalMaxAge: 86_400_000 } } as SessionData;
    const warnings = catchWarnings();
    expect(lifetimeMs(session, ({ cookie }) => cookie.originalMaxAge as number, 0)).toBe(86_400_000_000);
    await warningsEmitted();
    expect(warnings).toMatchObject([{ code: "WARN_TTL_IN_MILLISECONDS" }]);
    expect(() => lifetimeMs(session, () => MAX_TTL_S + 1, 0)).toThrow(
      "ttl: the function must return a number of seconds, got 9007199254741",
    );
  });
});

/** Its class is called RedisLegacyClient in node-redis, `_RedisLegacyClient` in a bundle of esbuild, `t` if that is minified. */
function bundledLegacy() {
  const legacy = client.legacy();
  const { constructor: Legacy } = legacy as unknown as { constructor: new (...args: never[]) => object };
  return Object.setPrototypeOf(legacy, class t extends Legacy {}.prototype);
}

describe("what is passed instead of a client, and what to pass", () => {
  const mistakes: [what: string, options: unknown, message: string][] = [
    ["a Promise", { client: Promise.resolve(client) }, "got an object (Promise): did you forget await?"],
    ["the function createClient", { client: createClient }, "got a function: call it, and pass"],
    ["a URL, whose password is not shown", { client: "redis://u:pw@h" }, 'got "redis://…@h": pass await'],
    ["ioredis", { client: { status: "ready", multi() {} } }, "got an ioredis client: npm install redis, and"],
    ["node-redis 3", { client: { send_command() {}, multi() {} } }, "got node-redis 3 or older: npm install"],
    ["node-redis 4", { client: { isOpen: true, multi() {} } }, "got node-redis 4 or older: npm install"],
    ["the legacy form", { client: client.legacy() }, "got client.legacy(): pass the client itself"],
    ["the same in a bundle", { client: bundledLegacy() }, "got client.legacy(): pass the client itself"],
    ["session, as in connect-redis 6", () => {}, "got a function (as connect-redis 6 took session): pass {"],
    ["the client as options", client, "got a client: pass { client }"],
    [
      "a Cluster client as cluster",
      { client, cluster: createCluster({ rootNodes: [] }) },
      "got a client: pass {",
    ],
    ["the client as localCache", { client, localCache: client }, "got a client: pass { client }"],
    ["a Promise as options", Promise.resolve(client), "got a Promise: did you forget await? Pass { client }"],
    ["nothing", undefined, "got undefined: pass { client }"],
  ];
  test.each(mistakes)("%s", (_, options, message) => {
    expect(() => resolve(options)).toThrow(TypeError);
    expect(() => resolve(options)).toThrow(message);
  });

  test("a prefix that the keys of the index begin with", () => {
    expect(() => resolve({ client, prefix: "", indexBy: () => "u" })).toThrow(
      /got "": the store would list the index as sessions; use for example "sess:"$/,
    );
  });
});
