/**
 * A stat. The stats object, the metric and the documentation's test are all derived from this row; the comment above it
 * becomes the hover text of the stat.
 */
export interface Stat {
  /** A counter only grows; a gauge goes up and down. */
  readonly kind: "counter" | "gauge";
  /** The name of the Prometheus metric, without the prefix. */
  readonly metric: string;
  /** The name of the OpenTelemetry metric, without the prefix, and its unit in UCUM. */
  readonly otel: { readonly name: string; readonly unit: string };
  /** The help text of the metric. */
  readonly help: string;
  /** The stat is null, and its metric absent, while the value is unknown. */
  readonly nullable?: true;
  /** The metrics are the stat divided by this, for metrics in base units. */
  readonly divisor?: number;
  /** How `node:cluster` workers are combined by prom-client. Default: "sum". */
  readonly aggregator?: "max";
}

/** Stats of one object, by name. */
export type StatTable = Readonly<Record<string, Stat>>;

/** The stats of `LocalCache`. */
export const CACHE_STATS = {
  /** Reads that found an unexpired entry. */
  hits: {
    kind: "counter",
    metric: "cache_hits_total",
    otel: { name: "cache.hits", unit: "{read}" },
    help: "Reads answered from the cache",
  },
  /** Reads that found none. */
  misses: {
    kind: "counter",
    metric: "cache_misses_total",
    otel: { name: "cache.misses", unit: "{read}" },
    help: "Reads of sessions not in the cache",
  },
  /** Unexpired entries removed to make room for others. */
  evictions: {
    kind: "counter",
    metric: "cache_evictions_total",
    otel: { name: "cache.evictions", unit: "{session}" },
    help: "Unexpired sessions removed to make room",
  },
  /** Entries held now, including expired ones that have not been removed yet. */
  size: {
    kind: "gauge",
    metric: "cache_entries",
    otel: { name: "cache.session.count", unit: "{session}" },
    help: "Cached sessions",
  },
  /** Bytes held now, as counted against `maxBytes`. */
  bytes: {
    kind: "gauge",
    metric: "cache_bytes",
    otel: { name: "cache.size", unit: "By" },
    help: "Size of the cached sessions in bytes",
  },
} as const;

/** The stats of `ClusteredRedisStore.clusterStats`. */
export const CLUSTER_STATS = {
  /** Messages published with a write that Redis acknowledged. */
  messagesPublished: {
    kind: "counter",
    metric: "messages_published_total",
    otel: { name: "messages.published", unit: "{message}" },
    help: "Messages published",
  },
  /** Messages received, including own and invalid ones. */
  messagesReceived: {
    kind: "counter",
    metric: "messages_received_total",
    otel: { name: "messages.received", unit: "{message}" },
    help: "Messages received",
  },
  /** Received messages that were invalid, of an unknown version or for another prefix. */
  messagesIgnored: {
    kind: "counter",
    metric: "messages_ignored_total",
    otel: { name: "messages.ignored", unit: "{message}" },
    help: "Messages ignored",
  },
  /** Received messages that invalidated sessions, and with `tracking`, changes of cached sessions that no message explains. */
  invalidations: {
    kind: "counter",
    metric: "invalidations_total",
    otel: { name: "invalidations", unit: "{message}" },
    help: "Invalidations received",
  },
  /** How often the whole cache was dropped. */
  flushes: {
    kind: "counter",
    metric: "cache_flushes_total",
    otel: { name: "cache.flushes", unit: "{flush}" },
    help: "Times the whole cache was dropped",
  },
  /** Replies and writes not cached because a newer change was known by then. */
  fencedFills: {
    kind: "counter",
    metric: "fenced_fills_total",
    otel: { name: "cache.fenced_fills", unit: "{reply}" },
    help: "Outdated replies not cached",
  },
  /** Saves and touches refused because they would have restored a destroyed session. */
  resurrections: {
    kind: "counter",
    metric: "resurrections_total",
    otel: { name: "resurrections", unit: "{write}" },
    help: "Saves of destroyed sessions",
  },
  /** With `onConflict: "merge"`: how often a save found a newer version in Redis. */
  conflicts: {
    kind: "counter",
    metric: "conflicts_total",
    otel: { name: "conflicts", unit: "{conflict}" },
    help: "Saves that found a newer version",
  },
  /** Touches that Redis did not acknowledge. */
  failedTouches: {
    kind: "counter",
    metric: "failed_touches_total",
    otel: { name: "touches.failed", unit: "{touch}" },
    help: "Touches not acknowledged",
  },
  /** Reads answered with a session that was no longer verified, because Redis did not answer: see `staleIfErrorMs`. */
  staleHits: {
    kind: "counter",
    metric: "stale_hits_total",
    otel: { name: "cache.stale_hits", unit: "{read}" },
    help: "Unverified sessions served in an outage",
  },
  /** Operations refused because Redis was known to be away, or too many were unanswered: `ERR_SESSION_UNAVAILABLE`. */
  refusals: {
    kind: "counter",
    metric: "refusals_total",
    otel: { name: "refusals", unit: "{operation}" },
    help: "Operations refused without being sent",
  },
  /** Data connections that the store has replaced: half-open ones, and those to a former primary. */
  reconnects: {
    kind: "counter",
    metric: "reconnects_total",
    otel: { name: "reconnects", unit: "{connection}" },
    help: "Connections replaced that were half-open or led to a former primary",
  },
  /** For how long Redis has been known to be away, since its last reply, in milliseconds; null while it answers. */
  outageMs: {
    kind: "gauge",
    metric: "outage_seconds",
    otel: { name: "outage.duration", unit: "s" },
    help: "Time since the last reply of a Redis that is away",
    nullable: true,
    divisor: 1_000,
    aggregator: "max",
  },
  /** Sessions whose messages are received: the cached ones, and some that were cached until recently. */
  subscriptions: {
    kind: "gauge",
    metric: "subscriptions",
    otel: { name: "subscription.count", unit: "{session}" },
    help: "Sessions whose messages are received",
  },
  /** With `cluster.tracking`: 1 while Redis reports all changes of cached sessions, otherwise 0; null without. */
  tracking: {
    kind: "gauge",
    metric: "tracking",
    otel: { name: "tracking", unit: "1" },
    help: "1 if Redis reports all changes of cached sessions",
    nullable: true,
  },
  /** Time since the newest returned heartbeat was sent, in milliseconds; null if none has verified the subscription. */
  leaseAgeMs: {
    kind: "gauge",
    metric: "lease_age_seconds",
    otel: { name: "lease.age", unit: "s" },
    help: "Time since the newest returned heartbeat was sent",
    nullable: true,
    divisor: 1_000,
    // The process that has received nothing for longest is the one to know about.
    aggregator: "max",
  },
} as const;

/** The stats object of a table. */
export type StatsOf<Table extends StatTable> = {
  readonly [Name in keyof Table]: Table[Name] extends { readonly nullable: true } ? number | null : number;
};

/** The counters among the stats of a table, to be incremented. */
export type CountersOf<Table extends StatTable> = {
  -readonly [Name in keyof Table as Table[Name]["kind"] extends "counter" ? Name : never]: number;
};

/** The counters of one store: it creates them, and each of its parts increments those that it knows about. */
export type Counters = CountersOf<typeof CLUSTER_STATS>;

/** The counters of a store, all 0. */
export function createCounters(): Counters {
  return countersOf(CLUSTER_STATS);
}

/** The counters of a table, all 0. */
export function countersOf<Table extends StatTable>(table: Table): CountersOf<Table> {
  const counters = Object.entries(table).filter(([, { kind }]) => kind === "counter");
  return Object.fromEntries(counters.map(([name]) => [name, 0])) as CountersOf<Table>;
}
