// One of several processes of an application: node node.ts <kind of client> <address>. It reads and writes sessions at a fixed rate.
import { setTimeout as pause } from "node:timers/promises";
import { ClusteredRedisStore } from "clustered-redis-store";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { clientOf, type Kind } from "./clients.ts";
import { SESSIONS, WRITES } from "./load.ts";

const TICK_MS = 5;
/** On a busy machine it catches up in small steps, or nothing else would run. */
const MOST_PER_TICK = 20;

const [kind, address] = process.argv.slice(2) as [Kind, string];
const store = new ClusteredRedisStore({ client: await clientOf(kind, address) });
store.on("clusterError", () => {});
await store.ready();
let liveAt = Date.now();
store.on("live", () => {
  liveAt = Date.now();
});

const session = sessionOf(1_000, 3_600_000);
let isBusy = false;
let lastErrorAt = 0;
let requests = 0;

const onError = () => {
  lastErrorAt = Date.now();
};

function request(): void {
  requests++;
  const sid = sidOf(Math.floor(Math.random() * SESSIONS));
  if (Math.random() < WRITES) store.set(sid, { ...session }).catch(onError);
  else store.get(sid).catch(onError);
}

export const handlers = {
  fill: async (): Promise<void> => {
    for (let i = 0; i < SESSIONS; i++) await store.set(sidOf(i), { ...session });
  },

  begin: (rate: number): void => {
    isBusy = true;
    void (async () => {
      const startedAt = performance.now();
      for (let done = 0; isBusy; await pause(TICK_MS)) {
        const due = Math.min(done + MOST_PER_TICK, ((performance.now() - startedAt) * rate) / 1_000);
        for (; done < due; done++) request();
      }
    })();
  },

  /** Counts anew. */
  reset: (): void => {
    requests = 0;
    store.resetCacheStats();
  },

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
