// A process that writes sessions at a fixed rate: node writer.ts <kind of client> <address> <store>.
import { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore, type SessionStoreError } from "clustered-redis-store";
import { RedisStore } from "connect-redis";
import type { Store } from "express-session";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf } from "../support/sessions.ts";
import { clientOf, type Kind } from "./clients.ts";

const [kind, address, contender] = process.argv.slice(2) as [Kind, string, "connect-redis" | "ours"];

let writes = 0;
let answered = 0;
let refused: string[] = [];
let failed: string[] = [];
/** Those that node-redis sent although their callers had an error. */
let late: string[] = [];
const given = new Set<string>();

/** Sees what node-redis sends, and when: at what it gives to a socket nobody can look afterwards. */
const { write } = Socket.prototype;
Socket.prototype.write = function (this: Socket, ...args: unknown[]) {
  const sid = typeof args[0] === "string" ? /SET\r\n\$\d+\r\nsess:(w\d+)\r\n/.exec(args[0])?.[1] : undefined;
  if (sid !== undefined && given.has(sid)) late.push(sid);
  return Reflect.apply(write, this, args);
} as typeof write;

const client = await clientOf(kind, address);
const cluster = {
  channel: "writer",
  ...(kind === "pool" && { subscriber: () => createClient({ url: address }) }),
};
const store: Store =
  contender === "ours"
    ? new ClusteredRedisStore({ client, cluster })
    : new RedisStore({ client: client as never });
if (store instanceof ClusteredRedisStore) {
  store.on("clusterError", () => {});
  await store.ready();
}

const heapMb = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
};

const TICK_MS = 10;
/** On a busy machine it catches up in small steps, or their callbacks would wait for the end of a large one. */
const MOST_PER_TICK = 50;

export const handlers = {
  heapMb,

  /** @returns the most heap that was used */
  write: async ({ rate, bytes, forMs }: { rate: number; bytes: number; forMs: number }): Promise<number> => {
    writes = answered = 0;
    refused = [];
    failed = [];
    late = [];
    given.clear();
    let most = 0;
    const total = (rate * forMs) / 1_000;
    // Made once: that takes longer than a write.
    const session = sessionOf(bytes, 3_600_000);
    const startedAt = performance.now();
    for (let measuredAt = startedAt; writes < total; ) {
      const due = Math.min(total, writes + MOST_PER_TICK, ((performance.now() - startedAt) * rate) / 1_000);
      for (; writes < due; writes++) {
        const sid = `w${writes}`;
        store.set(sid, { ...session }, (error: SessionStoreError | null) => {
          answered++;
          if (!error) return;
          given.add(sid);
          if (error.code === "ERR_SESSION_UNAVAILABLE") refused.push(sid);
          else failed.push(sid);
        });
      }
      if (performance.now() - measuredAt > 5_000) {
        most = Math.max(most, heapMb());
        measuredAt = performance.now();
      }
      await pause(TICK_MS);
    }
    return Math.max(most, heapMb());
  },

  settled: async (): Promise<void> => {
    while (answered < writes) await pause(TICK_MS);
  },

  outcome: () => ({ writes, done: writes - refused.length - failed.length, refused, failed, late }),
};
serve(handlers);
