import { lowerQuartile } from "../support/statistics.ts";

const BATCH_MS = 10;
const BATCHES = 24;
const WARM_UP_MS = 150;

/** Nanoseconds of CPU for a call of `work`, collecting its garbage included; in batches of some 10 ms. */
export function nsPerCall(work: () => unknown): number {
  let kept: unknown;
  let calls = 0;
  const warm = performance.now() + WARM_UP_MS;
  for (; performance.now() < warm; calls++) kept = work();
  const perBatch = Math.max(1, Math.round((calls * BATCH_MS) / WARM_UP_MS));
  const took: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const start = process.cpuUsage();
    for (let i = 0; i < perBatch; i++) kept = work();
    const { user, system } = process.cpuUsage(start);
    took.push((1000 * (user + system)) / perBatch);
  }
  if (kept === undefined) throw new Error("The work gave nothing");
  return lowerQuartile(took);
}

/** The same for work that calls back later. @param run does the work `times` times, one after another */
export async function nsPerAsyncCall(run: (times: number) => Promise<void>): Promise<number> {
  let calls = 0;
  const warm = performance.now() + WARM_UP_MS;
  for (; performance.now() < warm; calls += 100) await run(100);
  const perBatch = Math.max(100, Math.round((calls * BATCH_MS) / WARM_UP_MS));
  const took: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const start = process.cpuUsage();
    await run(perBatch);
    const { user, system } = process.cpuUsage(start);
    took.push((1000 * (user + system)) / perBatch);
  }
  return lowerQuartile(took);
}
