// One of several processes of an application: node node.ts <Redis URL>. It reads and writes sessions at a fixed rate.
import { setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";

const SESSIONS = 2_000;
const WRITES = 0.1;
const TICK_MS = 5;

const client = createClient({ url: process.argv[2] as string });
client.on("error", () => {});
await client.connect();
const store = new ClusteredRedisStore({ client });
store.on("clusterError", () => {});
await store.ready();
let liveAt = Date.now();
store.on("live", () => {
  liveAt = Date.now();
});

let isBusy = false;
let lastErrorAt = 0;
let requests = 0;

export const handlers = {
  fill: async (): Promise<void> => {
    for (let i = 0; i < SESSIONS; i++) await store.set(sidOf(i), sessionOf(1_000, 3_600_000));
  },

  begin: (rate: number): void => {
    isBusy = true;
    void (async () => {
      const startedAt = performance.now();
      const onError = () => {
        lastErrorAt = Date.now();
      };
      for (let done = 0; isBusy; ) {
        for (; done < ((performance.now() - startedAt) * rate) / 1_000; done++) {
          requests++;
          const sid = sidOf(Math.floor(Math.random() * SESSIONS));
          if (Math.random() < WRITES) store.set(sid, sessionOf(1_000, 3_600_000)).catch(onError);
          else store.get(sid).catch(onError);
        }
        await pause(TICK_MS);
      }
    })();
  },

  resetCacheStats: (): void => store.resetCacheStats(),

  seen: () => ({
    lastErrorAt,
    liveAt,
    state: store.clusterStats.state,
    hitRate: store.cacheStats.hitRate,
    requests,
  }),

  end: (): void => {
    isBusy = false;
  },
};
serve(handlers);
