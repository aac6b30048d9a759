import { setTimeout as pause } from "node:timers/promises";
import { startRedis } from "../support/redis-server.ts";
import { type ContenderName, READERS } from "./contender/names.ts";
import type { ContenderProcess } from "./measure.ts";
import { MAIN } from "./plan.ts";
import { Remote } from "./support/rpc.ts";
import { quantile } from "./support/statistics.ts";

export const STALL_MS = 300;
/** A request begins every 5 ms, whether or not the earlier ones have ended: so as many wait as in an application. */
export const EVERY_MS = 5;
const SECONDS = 6;

export const PERCENTILES = { p50: 0.5, p90: 0.9, p99: 0.99, longest: 1 } as const;
export type Percentile = keyof typeof PERCENTILES;

/** How long requests took, in ms, one figure a round. */
export type Stalled = Readonly<
  Partial<Record<ContenderName, Readonly<Record<Percentile, readonly number[]>>>>
>;

/** How long requests take while Redis answers nothing for 300 ms of each second: the contenders in turns, since a burst of one disturbs another. */
export async function measureStall(rounds: number): Promise<Stalled> {
  const server = await startRedis({ own: true });
  const contenders = READERS.map((name) => {
    const process: ContenderProcess = new Remote(new URL("contender/main.ts", import.meta.url), [name]);
    return {
      process,
      took: { p50: [], p90: [], p99: [], longest: [] } as Record<Percentile, number[]>,
      name,
    };
  });
  const setting = { redisUrl: server.url, ...MAIN.loopback };
  for (let round = 1; round <= rounds; round++) {
    for (const { process, took } of contenders) {
      // Each time: no cached session is to expire meanwhile.
      await process.call("prepare", setting);
      await process.call("requests", { writes: 0, inFlight: 16, forMs: 300 });
      const requests = process.call("atIntervals", { everyMs: EVERY_MS, forMs: SECONDS * 1_000 });
      const [all] = await Promise.all([requests, stallEachSecond(server)]);
      const sorted = all.toSorted((a, b) => a - b);
      for (const [percentile, q] of Object.entries(PERCENTILES))
        took[percentile as Percentile].push(quantile(sorted, q));
    }
  }
  for (const { process } of contenders) await process.end();
  await server.stop();
  return Object.fromEntries(contenders.map(({ name, took }) => [name, took]));
}

async function stallEachSecond(server: Awaited<ReturnType<typeof startRedis>>): Promise<void> {
  for (let second = 0; second < SECONDS; second++) {
    await pause(500);
    await server.pause();
    await pause(STALL_MS);
    await server.resume();
    await pause(500 - STALL_MS);
  }
}
