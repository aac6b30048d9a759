import { randomUUID } from "node:crypto";
import {
  kindOf,
  type RedisStoreClient,
  type RedisSubscriberClient,
  type RedisSubscriberSource,
} from "../redis/client.ts";
import { INDEX_PREFIX } from "../redis/index-commands.ts";
import { describeValue, optionError } from "../reporting/errors.ts";
import type { IndexBy, ResolveConflict, Serializer, SessionTtl } from "./types.ts";

/** The cache of this process. */
export interface LocalCacheOptions {
  /** Whether sessions are kept in memory. @default true */
  readonly enabled?: boolean | undefined;
  /** How long an entry is served at the most, in milliseconds; never longer than its key lives. @default 30_000 */
  readonly ttlMs?: number | undefined;
  /** How many sessions are kept at the most. @default 10_000 */
  readonly maxSize?: number | undefined;
  /** How many bytes the kept sessions take at the most, by the estimate of two for each UTF-16 unit. @default 67_108_864 (64 MiB) */
  readonly maxBytes?: number | undefined;
}

/** How this process and the others tell each other what to forget. */
export interface ClusterOptions {
  /**
   * Whether writes are announced, and the announcements of others heard. Without, and with the cache on, this must be the
   * only process that writes these sessions. @default true
   */
  readonly enabled?: boolean | undefined;
  /** A label for logs and stats; two processes may have the same. At most 256 characters. @default a random UUID */
  readonly nodeId?: string | undefined;
  /** The Pub/Sub channel. Heartbeats go over `<channel>:<random id>`. @default "session:cluster:invalidate" */
  readonly channel?: string | undefined;
  /** How long an attempt to subscribe, and `ready()`, may take, in milliseconds. @default 5_000 */
  readonly subscribeTimeoutMs?: number | undefined;
  /** How often this process proves that it hears, in milliseconds. @default 1_000 */
  readonly heartbeatMs?: number | undefined;
  /** For how long one proof lasts, in milliseconds: the most by which a hit may be behind. More than `heartbeatMs`. @default 3_000 */
  readonly leaseMs?: number | undefined;
  /**
   * The client to duplicate for the subscription, which need not be connected, or a function that returns a new client each
   * time. Needed when `client` cannot be duplicated: a pool, or a Sentinel client of node-redis 5. @default client
   */
  readonly subscriber?: RedisSubscriberSource | undefined;
  /**
   * Whether the store emits `expired`. Redis must have been told to tell: `notify-keyspace-events` with `E` and `x`.
   * @default false
   */
  readonly expiredEvents?: boolean | undefined;
}

/** What a `ClusteredRedisStore` takes. `client` to `scanCount` are connect-redis's, with its names, units and defaults. */
export interface ClusteredRedisStoreOptions {
  /** A node-redis client (5 or 6), pool, Cluster or Sentinel. The store never closes it. */
  readonly client: RedisStoreClient;
  /** Stands before the session's id in the key; at most 1,024 characters. @default "sess:" */
  readonly prefix?: string | undefined;
  /** How long a session lives whose cookie has no `expires`, in seconds, or a function of the session that decides for all. @default 86_400 */
  readonly ttl?: SessionTtl | undefined;
  /** Sessions never expire in Redis. @default false */
  readonly disableTTL?: boolean | undefined;
  /** Requests that do not change a session do not prolong it. @default false */
  readonly disableTouch?: boolean | undefined;
  /** @default JSON */
  readonly serializer?: Serializer | undefined;
  /** SCAN's COUNT. @default 100 */
  readonly scanCount?: number | undefined;
  /** `false` is short for `{ enabled: false }`. */
  readonly localCache?: boolean | LocalCacheOptions | undefined;
  /** `false` is short for `{ enabled: false }`. */
  readonly cluster?: boolean | ClusterOptions | undefined;
  /**
   * What a save does when another request has written the session since it was loaded: `"overwrite"` it, as
   * connect-redis does, or `"merge"` both by top-level key. @default "overwrite"
   */
  readonly onConflict?: "overwrite" | "merge" | undefined;
  /** With `onConflict: "merge"`: decides about a key that both have changed. @default the later writer's value stands */
  readonly resolveConflict?: ResolveConflict | undefined;
  /**
   * A touch that would prolong the session's life by less than this many milliseconds is left out; 0: none is.
   * @default 1 % of the session's life, 60_000 at the most
   */
  readonly touchAfterMs?: number | undefined;
  /**
   * What sessions are found by, say the id of their user: `sessionsOf`, `countOf` and `destroyAllOf` need it. Called with each
   * session that is written or prolonged; must be a function of the session alone, the same in all processes, and return a
   * string that is not empty, or undefined for a session that is not to be found. @default undefined: there is no index
   */
  readonly indexBy?: IndexBy | undefined;
  /** Within how many milliseconds each operation is answered, from call to callback. @default 5_000 */
  readonly commandTimeoutMs?: number | undefined;
}

/** The options with everything decided. */
export interface ResolvedOptions {
  readonly client: RedisStoreClient;
  readonly prefix: string;
  readonly ttl: SessionTtl;
  readonly disableTTL: boolean;
  readonly disableTouch: boolean;
  readonly serializer: Serializer;
  readonly scanCount: number;
  /** Undefined when it is off. */
  readonly localCache:
    | { readonly ttlMs: number; readonly maxSize: number; readonly maxBytes: number }
    | undefined;
  /** Undefined when it is off. */
  readonly cluster: ResolvedCluster | undefined;
  /** Undefined when sessions are overwritten. */
  readonly merge: { readonly resolve: ResolveConflict | undefined } | undefined;
  readonly touchAfterMs: number | undefined;
  readonly indexBy: IndexBy | undefined;
  readonly commandTimeoutMs: number;
}

export interface ResolvedCluster {
  readonly nodeId: string;
  readonly channel: string;
  readonly subscribeTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly subscriber: RedisSubscriberSource;
  readonly expiredChannel: string | undefined;
}

/** The longest delay that a Node timer takes. */
const LONGEST_MS = 2 ** 31 - 1;

/** @throws TypeError that names the option, what it takes and what it got */
export function resolveOptions(options: ClusteredRedisStoreOptions): ResolvedOptions {
  const given = groupOf("options", options, undefined);
  const client = clientOf("client", given["client"]);
  const localCache = switchable("localCache", given["localCache"], LOCAL_CACHE_KEYS);
  const cluster = switchable("cluster", given["cluster"], CLUSTER_KEYS);
  const prefix = text("prefix", given["prefix"], "sess:", { longest: 1024, mayBeEmpty: true });
  return {
    client,
    prefix,
    ttl: ttl(given["ttl"]),
    disableTTL: flag("disableTTL", given["disableTTL"], false),
    disableTouch: flag("disableTouch", given["disableTouch"], false),
    serializer: serializer(given["serializer"]),
    scanCount: count("scanCount", given["scanCount"], 100),
    localCache: localCache && {
      ttlMs: milliseconds("localCache.ttlMs", localCache["ttlMs"], 30_000),
      maxSize: count("localCache.maxSize", localCache["maxSize"], 10_000),
      maxBytes: count("localCache.maxBytes", localCache["maxBytes"], 64 * 1024 * 1024),
    },
    cluster: cluster && resolveCluster(cluster, client),
    merge: merge(given["onConflict"], given["resolveConflict"]),
    touchAfterMs: touchAfter(given["touchAfterMs"]),
    indexBy: indexBy(given["indexBy"], prefix),
    commandTimeoutMs: milliseconds("commandTimeoutMs", given["commandTimeoutMs"], 5_000),
  };
}

const LOCAL_CACHE_KEYS = ["enabled", "ttlMs", "maxSize", "maxBytes"];
const CLUSTER_KEYS = [
  "enabled",
  "nodeId",
  "channel",
  "subscribeTimeoutMs",
  "heartbeatMs",
  "leaseMs",
  "subscriber",
  "expiredEvents",
];

function resolveCluster(given: Record<string, unknown>, client: RedisStoreClient): ResolvedCluster {
  const heartbeatMs = milliseconds("cluster.heartbeatMs", given["heartbeatMs"], 1_000);
  const leaseMs = milliseconds("cluster.leaseMs", given["leaseMs"], 3_000);
  if (leaseMs <= heartbeatMs) {
    throw optionError("cluster.leaseMs", `more than cluster.heartbeatMs (${heartbeatMs})`, leaseMs);
  }
  return {
    nodeId: text("cluster.nodeId", given["nodeId"], randomUUID, { longest: 256 }),
    channel: text("cluster.channel", given["channel"], "session:cluster:invalidate", { longest: 1024 }),
    subscribeTimeoutMs: milliseconds("cluster.subscribeTimeoutMs", given["subscribeTimeoutMs"], 5_000),
    heartbeatMs,
    leaseMs,
    subscriber: subscriberOf(given["subscriber"], client),
    expiredChannel: flag("cluster.expiredEvents", given["expiredEvents"], false)
      ? expiredChannelOf(client)
      : undefined,
  };
}

/** Where Redis tells of keys that expired, of the database that the client uses. */
function expiredChannelOf(client: RedisStoreClient): string {
  const { options } = client as { options?: { database?: number } };
  return `__keyevent@${options?.database ?? 0}__:expired`;
}

interface QueueOptions {
  readonly commandsQueueMaxLength?: number;
}

function clientOf(name: string, client: unknown): RedisStoreClient {
  const takes = 'a client of the "redis" package (node-redis 5 or 6): createClient(), createClientPool(), …';
  const kind = kindOf(client);
  if (kind === undefined) {
    const isIoredis =
      client !== null && typeof client === "object" && "status" in client && "multi" in client;
    throw optionError(name, takes, client, isIoredis ? "an ioredis client" : undefined);
  }
  const { options, _options } = client as { options?: QueueOptions; _options?: { defaults?: QueueOptions } };
  const longest = options?.commandsQueueMaxLength ?? _options?.defaults?.commandsQueueMaxLength;
  if (longest !== undefined) {
    // MULTI and SET may be queued and EXEC refused; the connection is then left within a transaction.
    const why = "when its queue is full, node-redis cuts transactions in two";
    const got = describeValue(longest);
    throw new TypeError(`${name}: expected one without commandsQueueMaxLength (${why}), got ${got}`);
  }
  if (!("withTypeMapping" in (client as object)))
    throw optionError(name, takes, client, "node-redis 4 or older");
  return client as RedisStoreClient;
}

function subscriberOf(subscriber: unknown, client: RedisStoreClient): RedisSubscriberSource {
  const name = "cluster.subscriber";
  const kind = kindOf(client);
  if (kind === "cluster" && subscriber != null) {
    throw optionError(name, "nothing with a Cluster client, whose nodes' own are duplicated", subscriber);
  }
  if (typeof subscriber === "function") return subscriber as () => RedisStoreClient;
  const candidate = subscriber == null ? client : clientOf(name, subscriber);
  const given = kindOf(candidate);
  // Whoever listens must be where the client writes, after a failover, too.
  if (given !== kind && given !== "pool" && !(kind === "pool" && given === "single")) {
    throw optionError(
      name,
      `a client of the same kind as client (${kind})`,
      subscriber,
      `one of another (${given})`,
    );
  }
  if ("duplicate" in candidate) return candidate as RedisSubscriberClient;
  const [what, instead] =
    given === "pool"
      ? ["a pool", "pass a client from createClient() here"]
      : ["a Sentinel client of node-redis 5", "pass a function here that makes one, or use node-redis 6"];
  const where = subscriber == null ? name : `${name} (given ${what})`;
  throw new TypeError(
    `${where}: ${what} cannot be duplicated for the subscription: ${instead}, or cluster: false`,
  );
}

function groupOf(name: string, value: unknown, keys: readonly string[] | undefined): Record<string, unknown> {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw optionError(name, "an object", value);
  const unknownKey = keys && Object.keys(value).find((key) => !keys.includes(key));
  if (unknownKey !== undefined) {
    throw new TypeError(`${name}.${unknownKey}: there is no such option; there are ${keys?.join(", ")}`);
  }
  return value as Record<string, unknown>;
}

/** A group that can be switched off as a whole; undefined if it is. */
function switchable(
  name: string,
  value: unknown,
  keys: readonly string[],
): Record<string, unknown> | undefined {
  if (value === false) return undefined;
  if (value == null || value === true) return {};
  if (typeof value !== "object") throw optionError(name, "an object or a boolean", value);
  const group = groupOf(name, value, keys);
  return flag(`${name}.enabled`, group["enabled"], true) ? group : undefined;
}

function ttl(value: unknown): SessionTtl {
  if (value == null) return 86_400;
  if (typeof value === "function") return value as SessionTtl;
  if (typeof value === "number" && value > 0 && Number.isFinite(value)) return value;
  const takes =
    "a positive number of seconds or a function of the session (for sessions without end: disableTTL)";
  throw optionError("ttl", takes, value);
}

function serializer(value: unknown): Serializer {
  if (value == null) return JSON as Serializer;
  const { parse, stringify } = value as Partial<Serializer>;
  if (typeof parse === "function" && typeof stringify === "function") return value as Serializer;
  throw optionError("serializer", "an object with the functions parse and stringify", value);
}

function merge(onConflict: unknown, resolve: unknown): ResolvedOptions["merge"] {
  if (onConflict != null && onConflict !== "overwrite" && onConflict !== "merge") {
    throw optionError("onConflict", '"overwrite" or "merge"', onConflict);
  }
  if (resolve != null && typeof resolve !== "function")
    throw optionError("resolveConflict", "a function", resolve);
  if (onConflict === "merge") return { resolve: (resolve as ResolveConflict | null) ?? undefined };
  if (resolve != null) throw optionError("resolveConflict", 'onConflict: "merge" beside it', onConflict);
  return undefined;
}

function indexBy(value: unknown, prefix: string): IndexBy | undefined {
  if (value == null) return undefined;
  if (typeof value !== "function") throw optionError("indexBy", "a function of the session", value);
  if ((INDEX_PREFIX + prefix).startsWith(prefix)) {
    throw optionError(
      "prefix",
      `one that the keys of indexBy, "${INDEX_PREFIX}…", do not begin with`,
      prefix,
    );
  }
  return value as IndexBy;
}

function touchAfter(value: unknown): number | undefined {
  if (value == null) return undefined;
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  throw optionError("touchAfterMs", "0 or a positive number of milliseconds", value);
}

function milliseconds(name: string, value: unknown, byDefault: number): number {
  if (value == null) return byDefault;
  if (typeof value === "number" && value >= 1 && value <= LONGEST_MS) return value;
  throw optionError(name, `a number of milliseconds from 1 to ${LONGEST_MS}`, value);
}

function count(name: string, value: unknown, byDefault: number): number {
  if (value == null) return byDefault;
  if (Number.isSafeInteger(value) && (value as number) >= 1) return value as number;
  throw optionError(name, "a whole number from 1", value);
}

function flag(name: string, value: unknown, byDefault: boolean): boolean {
  if (value == null) return byDefault;
  if (typeof value === "boolean") return value;
  throw optionError(name, "a boolean", value);
}

function text(
  name: string,
  value: unknown,
  byDefault: string | (() => string),
  { longest, mayBeEmpty = false }: { longest: number; mayBeEmpty?: boolean },
): string {
  if (value == null) return typeof byDefault === "string" ? byDefault : byDefault();
  if (typeof value === "string" && value.length <= longest && (mayBeEmpty || value !== "")) return value;
  throw optionError(name, `a string of ${mayBeEmpty ? 0 : 1} to ${longest} characters`, value);
}
