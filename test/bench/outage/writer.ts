// A process that writes sessions at a fixed rate: node writer.ts <Redis URL> <contender>.
import { setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore, type SessionStoreError } from "clustered-redis-store";
import { RedisStore } from "connect-redis";
import type { Store } from "express-session";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf } from "../support/sessions.ts";

const [url, contender] = process.argv.slice(2) as [string, "connect-redis" | "ours"];
const client = createClient({ url });
client.on("error", () => {});
await client.connect();
const store: Store =
  contender === "ours"
    ? new ClusteredRedisStore({ client, cluster: { channel: "writer" } })
    : new RedisStore({ client });
if (store instanceof ClusteredRedisStore) {
  store.on("clusterError", () => {});
  await store.ready();
}

const heapMb = (): number => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
};

const TICK_MS = 10;
let writes = 0;
let answered = 0;
let refused: string[] = [];
let failed: string[] = [];

export const handlers = {
  heapMb,

  /** @returns the most heap that was used */
  write: async ({ rate, bytes, forMs }: { rate: number; bytes: number; forMs: number }): Promise<number> => {
    writes = answered = 0;
    refused = [];
    failed = [];
    let most = 0;
    const total = (rate * forMs) / 1_000;
    const startedAt = performance.now();
    for (let measuredAt = startedAt; writes < total; ) {
      const due = Math.min(total, ((performance.now() - startedAt) * rate) / 1_000);
      for (; writes < due; writes++) {
        const sid = `w${writes}`;
        store.set(sid, sessionOf(bytes, 3_600_000), (error: SessionStoreError | null) => {
          answered++;
          if (!error) return;
          if (error.code === "ERR_SESSION_UNAVAILABLE") refused.push(sid);
          else failed.push(sid);
        });
      }
      if (performance.now() - measuredAt > 10_000) {
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

  outcome: () => ({ writes, answered, refused, failed }),
};
serve(handlers);
