// npm run bench:stall [-- --quick]: how long requests take while Redis answers nothing for 300 ms of each second.
import { setTimeout as pause } from "node:timers/promises";
import { startRedis } from "../support/redis-server.ts";
import type { handlers as contenderHandlers } from "./contender/main.ts";
import { type ContenderName, labelOf } from "./contender/stores.ts";
import { drawBars } from "./support/bar-chart.ts";
import { describe, machine } from "./support/machine.ts";
import { writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";
import { quantile, short, spreadOf } from "./support/statistics.ts";
import { table } from "./support/table.ts";

const isQuick = process.argv.includes("--quick");
const NAMES: readonly ContenderName[] = ["connect-redis", "connect-redis, client-side cache", "ours"];
const ROUNDS = isQuick ? 2 : 5;
const SECONDS = 10;
const STALL_MS = 300;
/** A request begins every 5 ms, whether or not the earlier ones have ended: so as many wait as in an application. */
const EVERY_MS = 5;

const server = await startRedis({ own: true });
const ranOn = machine(server.version, ["redis", "express-session", "connect-redis"]);
console.log(
  `${describe(ranOn)}\n${ROUNDS} rounds of ${SECONDS} s; read-only, 1 KB, a request every ${EVERY_MS} ms`,
);

const PERCENTILES = { p50: 0.5, p90: 0.9, p99: 0.99, longest: 1 } as const;
type Percentile = keyof typeof PERCENTILES;
const rounds = new Map<ContenderName, Record<Percentile, number[]>>();

async function stallEachSecond(): Promise<void> {
  for (let second = 0; second < SECONDS; second++) {
    await pause(500);
    await server.pause();
    await pause(STALL_MS);
    await server.resume();
    await pause(500 - STALL_MS);
  }
}

for (let round = 1; round <= ROUNDS; round++) {
  for (const name of NAMES) {
    const contender = new Remote<typeof contenderHandlers>(new URL("contender/main.ts", import.meta.url), [
      name,
    ]);
    await contender.call("prepare", { redisUrl: server.url, bytes: 1_000, maxAgeMs: 3_600_000 });
    await contender.call("inProcess", { writes: 0, concurrency: 16, forMs: 500 });
    const [took] = await Promise.all([
      contender.call("atIntervals", { everyMs: EVERY_MS, forMs: SECONDS * 1_000 }),
      stallEachSecond(),
    ]);
    await contender.end();
    const sorted = took.toSorted((a, b) => a - b);
    const all = rounds.get(name) ?? { p50: [], p90: [], p99: [], longest: [] };
    for (const [percentile, q] of Object.entries(PERCENTILES)) {
      all[percentile as Percentile].push(quantile(sorted, q));
    }
    rounds.set(name, all);
  }
  console.error(`round ${round} of ${ROUNDS}`);
}
await server.stop();

const percentiles = Object.keys(PERCENTILES) as Percentile[];
const spread = (name: ContenderName, percentile: Percentile) =>
  spreadOf(rounds.get(name)?.[percentile] ?? []);
console.log(
  table(
    ["ms, median of the rounds (lowest–highest)", ...percentiles],
    NAMES.map((name) => [
      labelOf(name),
      ...percentiles.map((percentile) => {
        const values = rounds.get(name)?.[percentile] ?? [];
        const { median } = spread(name, percentile);
        return `${short(median)} (${short(Math.min(...values))}–${short(Math.max(...values))})`;
      }),
    ]),
  ),
);
writeResults("stall", { machine: ranOn, rounds: Object.fromEntries(rounds) });
if (!isQuick) {
  drawBars(
    "stall",
    `Time per request while Redis stalls for ${STALL_MS} ms of each second`,
    "read-only, 1 KB; median and quartiles of the rounds; shorter is better; each group has its own scale",
    "ms",
    (["p50", "p99"] as const).map((percentile) => ({
      title: { p50: "median", p99: "99th percentile" }[percentile],
      bars: NAMES.map((name) => ({
        label: labelOf(name),
        value: spread(name, percentile),
        kind: name === "ours" ? "ours" : "other",
      })),
    })),
  );
}
