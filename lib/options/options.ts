import { randomUUID } from "node:crypto";
import { DEFAULT_LIMITS, MAX_ENTRIES } from "../cache/local-cache.ts";
import { kindOf, type RedisStoreClient, type RedisSubscriberSource } from "../redis/client.ts";
import { INDEX_PREFIX } from "../redis/index-commands.ts";
import { describeValue, optionError } from "../reporting/errors.ts";
import { isLabel } from "../reporting/text.ts";
import { warnOnce } from "../reporting/warnings.ts";
import { requireClient, subscriberFor } from "./clients.ts";
import {
  count,
  flag,
  type Given,
  group,
  isObject,
  MAX_TIMER_MS,
  milliseconds,
  type Option,
  option,
  readOptions,
  text,
  type Values,
} from "./option.ts";
import { MAX_TTL_S, warnOfLongTtl } from "./ttl.ts";
import type { Codec, IndexBy, ResolveConflict, Serializer, SessionTtl } from "./types.ts";
import { rejectUnknownOptions } from "./unknown-options.ts";

// An option is one row: its documentation, default, check and public type. The public interfaces and `ResolvedOptions` are
// derived from the rows, and the comment of a row is the hover text of the option.

/** The options of `localCache`. */
export const LOCAL_CACHE_OPTIONS = {
  /** Whether sessions are cached in this process. @default true */
  enabled: flag({ default: true }) as Option<boolean>,
  /** How long an entry may be served, in milliseconds; never longer than its key exists. @default 30_000 */
  ttlMs: milliseconds({ default: DEFAULT_LIMITS.ttlMs }) as Option<number>,
  /** Maximum number of cached sessions, at most 16,777,216. @default 10_000 */
  maxSize: count({ default: DEFAULT_LIMITS.maxSize, max: MAX_ENTRIES }) as Option<number>,
  /**
   * Maximum memory of the cached sessions, in bytes, as estimated. A session that takes more than a sixteenth of it is not
   * cached. @default 67_108_864 (64 MiB)
   */
  maxBytes: count({ default: DEFAULT_LIMITS.maxBytes }) as Option<number>,
  /**
   * How long an entry may be served while Redis does not answer, in milliseconds since it was last verified. During a network
   * partition, a logout on the other side may go unnoticed for that long. @default 0
   */
  staleIfErrorMs: option<number>({
    default: 0,
    expected: `0 or a number of milliseconds up to ${MAX_TIMER_MS}`,
    accepts: (given) => typeof given === "number" && given >= 0 && given <= MAX_TIMER_MS,
  }) as Option<number>,
};

/** The cache of this process. */
export interface LocalCacheOptions extends Given<typeof LOCAL_CACHE_OPTIONS> {}

/** The options of `cluster`. */
export const CLUSTER_OPTIONS = {
  /**
   * Whether this process publishes its writes, and receives the messages of the others. If `false` while the cache is
   * enabled, this must be the only process that writes these sessions. @default true
   */
  enabled: flag({ default: true }) as Option<boolean>,
  /**
   * A label of this process for logs and stats, 1 to 256 characters without control characters. It need not be unique.
   * @default a random UUID
   */
  nodeId: option<string>({
    default: randomUUID,
    expected: "a string of 1 to 256 characters without control characters",
    accepts: (given) => given !== "" && isLabel(given),
  }) as Option<string>,
  /**
   * The Pub/Sub channel on which deletions are published, 1 to 1,024 characters, without `{` in a Cluster. The names of all
   * other channels begin with it and a colon.
   * @default "session:cluster:invalidate"
   */
  channel: text({ default: "session:cluster:invalidate", minLength: 1, maxLength: 1_024 }) as Option<string>,
  /** Timeout of an attempt to subscribe, and of `ready()`, in milliseconds. @default 5_000 */
  subscribeTimeoutMs: milliseconds({ default: 5_000 }) as Option<number>,
  /** Interval of the heartbeats that verify the subscription, in milliseconds. @default 1_000 */
  heartbeatMs: milliseconds({ default: 1_000 }) as Option<number>,
  /**
   * How long a heartbeat that has returned allows cache hits, in milliseconds since it was sent: the longest that a hit can
   * be outdated. Must be more than `heartbeatMs`. @default 3_000
   */
  leaseMs: milliseconds({ default: 3_000 }) as Option<number>,
  /**
   * The client to duplicate for the subscription (it need not be connected), or a function that returns a new, unconnected
   * client on each call; the constructor calls it once. Required when `client` cannot be duplicated: a pool, or a Sentinel
   * client of node-redis 5. @default client
   */
  subscriber: ((given, name) => {
    if (given == null) return undefined;
    return typeof given === "function" ? (given as () => RedisStoreClient) : requireClient(given, name);
  }) as Option<RedisSubscriberSource, RedisStoreClient | (() => RedisStoreClient) | undefined>,
  /** Whether the store emits `expired`. Requires `notify-keyspace-events` of Redis with `E` and `x`. @default false */
  expiredEvents: flag({ default: false }) as Option<boolean>,
  /**
   * Whether Redis reports every change of a cached session, including those that no store publishes: by redis-cli, a
   * connect-redis process, expiry, eviction, FLUSHALL. Costs one more read after each write and touch of this process. Where
   * Redis or the client does not support it, the store emits `clusterError` and works without it. @default false
   */
  tracking: flag({ default: false }) as Option<boolean>,
};

/** Invalidation between processes. */
export interface ClusterOptions extends Given<typeof CLUSTER_OPTIONS> {}

/** The options of the store, without `client`. */
export const STORE_OPTIONS = {
  /** The prefix of the session id in the key, at most 1,024 characters. @default "sess:" */
  prefix: text({ default: "sess:", minLength: 0, maxLength: 1_024 }) as Option<string>,
  /**
   * Lifetime of a session whose cookie has no `expires`, in seconds; or a function that returns the seconds for every session,
   * whatever its cookie says. More than 400 days emit a process warning. @default 86_400
   */
  ttl: option<number>({
    default: 86_400,
    expected: `a positive number of seconds, at most ${MAX_TTL_S}, or a function of the session (for sessions that never expire: disableTTL)`,
    accepts: (given) =>
      typeof given === "function" ||
      (Number.isFinite(given) && (given as number) > 0 && (given as number) <= MAX_TTL_S),
  }) as Option<SessionTtl>,
  /** Whether sessions never expire in Redis. @default false */
  disableTTL: flag({ default: false }) as Option<boolean>,
  /** Whether requests that do not change a session leave its expiry as it is. @default false */
  disableTouch: flag({ default: false }) as Option<boolean>,
  /** Converts sessions to strings and back. With any serializer but `JSON`, each cache hit parses the text. @default JSON */
  serializer: option<Serializer>({
    default: JSON,
    expected: "an object with the functions parse and stringify",
    accepts: (given) => {
      const { parse, stringify } = given as Partial<Serializer>;
      return typeof parse === "function" && typeof stringify === "function";
    },
  }) as Option<Serializer>,
  /**
   * Encodes the serializer's text for Redis, and decodes it: encryption or compression, for example. The entry
   * `clustered-redis-store/codecs` has both. Cache hits do not decode. @default undefined: Redis holds the serializer's text
   */
  codec: option({
    expected: "an object with the functions encode and decode",
    accepts: (given) => {
      const { encode, decode } = given as Partial<Codec>;
      return typeof encode === "function" && typeof decode === "function";
    },
  }) as Option<Codec, Codec | undefined>,
  /**
   * What a request gets if its session in Redis cannot be decoded or parsed: `"error"`, an error; `"none"`, no session, and the
   * event `clusterError`. The value is not modified. @default "error"
   */
  onCorrupt: option<"error" | "none">({
    default: "error",
    expected: '"error" or "none"',
    accepts: (given) => given === "error" || given === "none",
  }) as Option<"error" | "none">,
  /** COUNT of the SCAN command: about how many keys Redis examines per call. @default 100 */
  scanCount: count({ default: 100 }) as Option<number>,
  /** The cache of this process. `true` means the defaults, `false` `{ enabled: false }`. @default true */
  localCache: group(LOCAL_CACHE_OPTIONS) as Option<boolean | LocalCacheOptions, LocalCacheValues | undefined>,
  /** Invalidation between processes. `true` means the defaults, `false` `{ enabled: false }`. @default true */
  cluster: group(CLUSTER_OPTIONS) as Option<boolean | ClusterOptions, ClusterValues | undefined>,
  /**
   * What a save does if another request has written the session since it was loaded: `"overwrite"` replaces it, as
   * connect-redis does, `"merge"` merges both by top-level key. @default "overwrite"
   */
  onConflict: option<"overwrite" | "merge">({
    default: "overwrite",
    expected: '"overwrite" or "merge"',
    accepts: (given) => given === "overwrite" || given === "merge",
  }) as Option<"overwrite" | "merge">,
  /** With `onConflict: "merge"`: chooses the value of a key that both have changed. @default the later writer's value */
  resolveConflict: option({
    expected: "a function",
    accepts: (given) => typeof given === "function",
  }) as Option<ResolveConflict, ResolveConflict | undefined>,
  /**
   * A touch that would move a session's expiry by less than this many milliseconds, or by less than half of the session's
   * lifetime if that is shorter, is skipped; 0 skips none.
   * @default 1 % of the session's lifetime, at most 60_000
   */
  touchAfterMs: option({
    expected: "0 or a positive number of milliseconds",
    accepts: (given) => Number.isFinite(given) && (given as number) >= 0,
  }) as Option<number, number | undefined>,
  /**
   * Returns the value by which a session is found, for example the id of its user; `sessionsOf`, `countOf`, `destroyOf` and
   * `destroyAllOf` require it. Called with each session that is written or touched. The result must depend only on the session,
   * be the same in all processes, and be a non-empty string, or undefined or null for a session that is not indexed.
   * @default undefined: no index
   */
  indexBy: option({
    expected: "a function of the session",
    accepts: (given) => typeof given === "function",
  }) as Option<IndexBy, IndexBy | undefined>,
  /** Timeout of each operation, in milliseconds, from call to callback. @default 5_000 */
  commandTimeoutMs: milliseconds({ default: 5_000 }) as Option<number>,
};

/** The options of a `ClusteredRedisStore`. Those of connect-redis keep their names, units and defaults. */
export interface ClusteredRedisStoreOptions extends Given<typeof STORE_OPTIONS> {
  /** A client of node-redis 5 or 6: single, pool, Cluster or Sentinel. The store never closes it. */
  readonly client: RedisStoreClient;
}

type LocalCacheValues = Omit<Values<typeof LOCAL_CACHE_OPTIONS>, "enabled">;
type ClusterValues = Omit<Values<typeof CLUSTER_OPTIONS>, "enabled">;

/** The values of `cluster`, as far as they are not derived from several options. */
export interface ResolvedCluster extends Omit<ClusterValues, "subscriber"> {
  /** What to duplicate for the subscription. */
  readonly subscriber: RedisSubscriberSource;
}

/** The values of all options. A disabled group is undefined. */
export interface ResolvedOptions
  extends Omit<Values<typeof STORE_OPTIONS>, "cluster" | "onConflict" | "resolveConflict"> {
  readonly client: RedisStoreClient;
  readonly cluster: ResolvedCluster | undefined;
  /** Undefined when saves overwrite. */
  readonly merge: { readonly resolve: ResolveConflict | undefined } | undefined;
}

/**
 * Reads each option by its row, then applies the rules that concern several options.
 * @throws TypeError that names the option, the expected and the actual value
 */
export function resolveOptions(options: ClusteredRedisStoreOptions): ResolvedOptions {
  const given: unknown = options;
  requireOptionsObject(given);
  rejectUnknownOptions(given, STORE_OPTIONS, { localCache: LOCAL_CACHE_OPTIONS, cluster: CLUSTER_OPTIONS });
  const client = requireClient(given["client"], "client");
  const { cluster, onConflict, resolveConflict, ...values } = readOptions(STORE_OPTIONS, given);
  const { prefix, indexBy } = values;
  if (indexBy !== undefined && (INDEX_PREFIX + prefix).startsWith(prefix)) {
    const expected = `one that no index key of indexBy ("${INDEX_PREFIX}…") begins with`;
    const got = `${describeValue(prefix)}: the store would list the index as sessions; use for example "sess:"`;
    throw optionError("prefix", expected, prefix, got);
  }
  if (resolveConflict !== undefined && onConflict !== "merge") {
    throw optionError("onConflict", '"merge", because resolveConflict is set', given["onConflict"]);
  }
  if (typeof values.ttl === "number") warnOfLongTtl(values.ttl);
  const { staleIfErrorMs = 0 } = values.localCache ?? {};
  if (staleIfErrorMs > 0 && cluster === undefined) {
    throw optionError(
      "localCache.staleIfErrorMs",
      "0 with cluster: false, which verifies nothing",
      staleIfErrorMs,
    );
  }
  if (cluster === undefined && values.localCache !== undefined && given["localCache"] == null) {
    warnOfUnsharedCache(values.localCache.ttlMs);
  }
  return {
    ...values,
    client,
    cluster: cluster && resolveCluster(cluster, client),
    merge: onConflict === "merge" ? { resolve: resolveConflict } : undefined,
  };
}

function requireOptionsObject(given: unknown): asserts given is Readonly<Record<string, unknown>> {
  const fail = (got: string) => {
    throw optionError("options", "an object", given, got);
  };
  if (typeof given === "function") {
    // connect-redis 6 and older were called with express-session's function.
    fail("a function (as connect-redis 6 took session): pass { client }");
  }
  if (kindOf(given) !== undefined) fail("a client: pass { client }");
  if (!isObject(given)) return fail(`${describeValue(given)}: pass { client }`);
  if ("then" in given) fail("a Promise: did you forget await? Pass { client }");
}

/** `cluster: false` reads like "no Redis Cluster", and the stale cache that it leaves shows nowhere. */
function warnOfUnsharedCache(ttlMs: number): void {
  warnOnce(
    "WARN_CACHE_NOT_INVALIDATED",
    "",
    `cluster: false disables the messages between processes, but each process still caches sessions, and serves them for up to ${ttlMs} ms after another process has changed them or logged the user out. The option has nothing to do with Redis Cluster.`,
    "Remove cluster: false; a single Redis needs no setting. If this is the only process that writes these sessions, set localCache: true and this warning goes away. With localCache: false every read goes to Redis.",
  );
}

function resolveCluster(cluster: ClusterValues, client: RedisStoreClient): ResolvedCluster {
  const { subscriber, ...values } = cluster;
  const { heartbeatMs, leaseMs, channel } = values;
  if (leaseMs <= heartbeatMs) {
    throw optionError("cluster.leaseMs", `more than cluster.heartbeatMs (${heartbeatMs})`, leaseMs);
  }
  if (kindOf(client) === "cluster" && channel.includes("{")) {
    const expected = 'a name without "{" with a Cluster client, because braces assign channels to slots';
    throw optionError("cluster.channel", expected, channel);
  }
  return { ...values, subscriber: subscriberFor(client, subscriber) };
}
