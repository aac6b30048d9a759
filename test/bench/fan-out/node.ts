// A process of an application, as far as sessions go: node node.ts <Redis URL> [cluster]. It writes, or receives what others write.
import { setImmediate as nextTurn, setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient, createCluster } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { MOST_READS } from "./plan.ts";

export interface WriteOptions {
  readonly perSecond: number;
  readonly forMs: number;
  /** To publish every write on one channel instead of the session's, by plain commands. */
  readonly sharedChannel?: string;
}

const SESSIONS = 1000;
const TICK_MS = 5;
const HOUR_MS = 3_600_000;
/** What such a message was like: JSON of about 240 bytes. */
const SHARED_MESSAGE = "x".repeat(240);

const [, , url, kind] = process.argv as [string, string, string, string?];
// What is used of it is the same.
const client = (kind === "cluster"
  ? createCluster({ rootNodes: [{ url }] })
  : createClient({ url })) as unknown as ReturnType<typeof createClient>;
await client.connect();
const store = new ClusteredRedisStore({
  client,
  prefix: "fan:",
  // Without heartbeats, nothing is measured but writes and their messages, and sessions stay subscribed.
  cluster: { channel: "fan", heartbeatMs: HOUR_MS, leaseMs: 2 * HOUR_MS },
});
await store.ready();
const uncached = new ClusteredRedisStore({ client, prefix: "fan:", localCache: false, cluster: false });

/** When which session was invalidated, by this machine's monotonic clock in ns, which all processes share. */
const invalidatedAt = new Map<string, bigint>();
let isRecording = false;
let cpu = process.cpuUsage();
store.on("invalidate", (sid: string) => {
  if (isRecording) invalidatedAt.set(sid, process.hrtime.bigint());
});

const writing = sessionOf(1000, HOUR_MS);
const text = JSON.stringify(writing);
// Braces: in a Cluster, all are in one slot.
const sids = Array.from({ length: SESSIONS }, (_, i) => `{fan}${sidOf(i)}`);
/** Wherever they are in a Cluster. */
const readOnce = Array.from({ length: MOST_READS }, (_, i) => sidOf(1_000_000 + i));
let turn = 0;

function writeOne(sid: string, sharedChannel: string | undefined): Promise<unknown> {
  if (sharedChannel === undefined) return store.set(sid, writing);
  const options = { expiration: { type: "PX", value: HOUR_MS } } as const;
  return client.multi().set(`fan:${sid}`, text, options).publish(sharedChannel, SHARED_MESSAGE).exec();
}

/** Ends the subscriptions to sessions that are not cached. */
async function unsubscribe(): Promise<void> {
  while (store.clusterStats.subscriptions > 0) {
    store.coordinator?.sessions.sweep();
    await nextTurn();
  }
}

/** Ways to read a session that is not cached. */
const reads = {
  /** By commands of the client. */
  "client's read": (sid: string): Promise<unknown> =>
    client.multi().getRange(`fan:${sid}`, 0, -1).pTTL(`fan:${sid}`).execAsPipeline(),
  /** By a store that caches nothing, and so subscribes to nothing. */
  "store's read": (sid: string): Promise<unknown> => uncached.get(sid),
  /** With a subscription for each. */
  miss: (sid: string): Promise<unknown> => store.get(sid),
};

export interface ReadOptions {
  readonly count: number;
  readonly inFlight: number;
  readonly kind: keyof typeof reads;
}

export const handlers = {
  channels: (): string[] => sids.map((sid) => String(store.coordinator?.sessions.channelOf(sid))),

  /** Writes at an even pace. @returns how many */
  write: async ({ perSecond, forMs, sharedChannel }: WriteOptions): Promise<number> => {
    const start = performance.now();
    const outstanding = new Set<Promise<unknown>>();
    let written = 0;
    for (let now = start; now - start < forMs; now = performance.now()) {
      for (; written < ((now - start) * perSecond) / 1000; written++) {
        const sid = sids[turn++ % SESSIONS] as string;
        const write = writeOne(sid, sharedChannel).finally(() => outstanding.delete(write));
        outstanding.add(write);
      }
      await pause(TICK_MS);
    }
    await Promise.all(outstanding);
    return written;
  },

  /** Writes one after another, with rests. @returns when each write began, and how long a PING between them took, in ns */
  writeSlowly: async (times: number): Promise<{ began: [string, string][]; pings: number[] }> => {
    const began: [string, string][] = [];
    const pings: number[] = [];
    for (let i = 0; i < times; i++) {
      const sid = sids[i % SESSIONS] as string;
      began.push([sid, String(process.hrtime.bigint())]);
      await store.set(sid, writing);
      await pause(2);
      const start = process.hrtime.bigint();
      await client.ping();
      pings.push(Number(process.hrtime.bigint() - start));
      await pause(2);
    }
    return { began, pings };
  },

  /** Writes all sessions once. */
  fill: async (): Promise<void> => {
    for (const sid of sids) await store.set(sid, writing);
    for (let i = 0; i < MOST_READS; i += 100)
      await Promise.all(readOnce.slice(i, i + 100).map((sid) => uncached.set(sid, writing)));
  },

  /** Caches all sessions. */
  cacheAll: async (): Promise<void> => {
    for (const sid of sids) await store.get(sid);
  },

  /** Ends all subscriptions to sessions. */
  cacheNone: async (): Promise<void> => {
    for (const sid of sids) store.evictFromCache(sid);
    await unsubscribe();
    await client.ping();
  },

  /** Reads sessions that are not cached, each once, and drops them. @returns how many */
  readOnce: async ({ count, inFlight, kind }: ReadOptions): Promise<number> => {
    const read = reads[kind];
    for (let i = 0; i < count; i += inFlight) await Promise.all(readOnce.slice(i, i + inFlight).map(read));
    if (kind === "miss") for (const sid of readOnce.slice(0, count)) store.evictFromCache(sid);
    await unsubscribe();
    return count;
  },

  recordInvalidations: (): void => {
    invalidatedAt.clear();
    isRecording = true;
  },

  recorded: (): [string, string][] => {
    isRecording = false;
    return [...invalidatedAt].map(([sid, at]) => [sid, String(at)]);
  },

  /** CPU of this process since it was last asked, in µs. */
  cpuUs: (): number => {
    const { user, system } = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    return user + system;
  },
};

serve(handlers);
