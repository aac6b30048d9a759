// A process of an application, as far as sessions go: node node.ts <Redis URL>. It writes, or hears others write.
import { setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";

export interface WriteOptions {
  readonly perSecond: number;
  readonly forMs: number;
}

const SESSIONS = 1000;
const TICK_MS = 5;

const client = createClient({ url: process.argv[2] as string });
await client.connect();
const store = new ClusteredRedisStore({ client, prefix: "fan:", cluster: { channel: "fan" } });
await store.ready();

/** When which session was heard of, by this machine's monotonic clock in ns, which all processes share. */
const heard = new Map<string, bigint>();
let isNoting = false;
let cpu = process.cpuUsage();
store.on("invalidate", (sid: string) => {
  if (isNoting) heard.set(sid, process.hrtime.bigint());
});

const writing = sessionOf(1000, 3_600_000);
let turn = 0;

export const handlers = {
  /** Writes at an even pace. @returns how many writes it were */
  write: async ({ perSecond, forMs }: WriteOptions): Promise<number> => {
    const start = performance.now();
    const outstanding = new Set<Promise<void>>();
    let written = 0;
    for (let now = start; now - start < forMs; now = performance.now()) {
      for (; written < ((now - start) * perSecond) / 1000; written++) {
        const write = store.set(sidOf(turn++ % SESSIONS), writing).finally(() => outstanding.delete(write));
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
      const sid = sidOf(500_000 + turn++);
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

  noteWhatYouHear: (): void => {
    heard.clear();
    isNoting = true;
  },

  whatYouHeard: (): [string, string][] => {
    isNoting = false;
    return [...heard].map(([sid, at]) => [sid, String(at)]);
  },

  /** CPU of this process since it was last asked, in µs, and the messages that have come. */
  cpuAndMessages: (): { cpuUs: number; messages: number } => {
    const { user, system } = process.cpuUsage(cpu);
    cpu = process.cpuUsage();
    return { cpuUs: user + system, messages: store.clusterStats.messagesReceived };
  },
};

serve(handlers);
