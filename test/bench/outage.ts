// npm run bench:outage [-- --quick] [-- --visitors]: what visitors see when Redis is away, second by second; what a stalled Redis does
// to memory, and how several processes recover, unless only the visitors are asked for.
import { setTimeout as pause } from "node:timers/promises";
import { startRedis } from "../support/redis-server.ts";
import { CONTENDERS, type Contender } from "./outage/contenders.ts";
import { measureMemory } from "./outage/memory.ts";
import { measureRecovery } from "./outage/recovery.ts";
import { saveAndKill } from "./outage/save-and-kill.ts";
import type { handlers as serverHandlers } from "./outage/server.ts";
import { FAST_MS, type Second, secondsOf, tookMs, type Visit, Visitors } from "./outage/visitors.ts";
import { describe, machine } from "./support/machine.ts";
import { writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";
import { drawStrips } from "./support/stack-chart.ts";
import { short } from "./support/statistics.ts";
import { table } from "./support/table.ts";

const isQuick = process.argv.includes("--quick");
const isAboutVisitors = process.argv.includes("--visitors");
const CALM_S = 5;
const OUTAGE_S = isQuick ? 8 : 20;
const AFTER_S = isQuick ? 5 : 15;
const TOTAL_S = CALM_S + OUTAGE_S + AFTER_S;
const EVERY_MS = 20;
const STALL_MS = 300;

type Server = Awaited<ReturnType<typeof startRedis>>;

const OUTAGES: Record<string, (redis: Server) => Promise<void>> = {
  killed: async (redis) => {
    await saveAndKill(redis);
    await pause(OUTAGE_S * 1_000);
    await redis.restart();
  },
  stalled: async (redis) => {
    await redis.pause();
    await pause(OUTAGE_S * 1_000);
    await redis.resume();
  },
  [`stalled for ${STALL_MS} ms of every second`]: async (redis) => {
    for (let second = 0; second < OUTAGE_S; second++) {
      await redis.pause();
      await pause(STALL_MS);
      await redis.resume();
      await pause(1_000 - STALL_MS);
    }
  },
};

interface Seen {
  /** When Redis failed and when it was back, in ms since the beginning: a busy machine takes its time. */
  readonly failedAt: number;
  readonly backAt: number;
  readonly visits: readonly Visit[];
  readonly seconds: readonly Second[];
}

async function watch(contender: Contender, fail: (redis: Server) => Promise<void>): Promise<Seen> {
  const redis = await startRedis({ own: true });
  const file = new URL("outage/server.ts", import.meta.url);
  const server = new Remote<typeof serverHandlers>(file, [redis.url, contender]);
  const visitors = new Visitors(await server.call("port"));
  await visitors.logIn();
  const startedAt = performance.now();
  const failAndMend = async () => {
    await pause(CALM_S * 1_000);
    const failedAt = performance.now() - startedAt;
    await fail(redis);
    return { failedAt, backAt: performance.now() - startedAt };
  };
  const [visits, times] = await Promise.all([visitors.visit(EVERY_MS, TOTAL_S * 1_000), failAndMend()]);
  visitors.end();
  await server.end();
  await redis.stop();
  return { ...times, visits, seconds: secondsOf(visits, TOTAL_S) };
}

const probe = await startRedis({ own: true });
const ranOn = machine(probe.version, ["redis", "express-session", "connect-redis", "express"]);
await probe.stop();
console.log(`${describe(ranOn)}\nRead-only pages of 200 visitors, one every ${EVERY_MS} ms\n`);

const all: Record<string, Record<string, Seen>> = {};
const rows: string[][] = [];
for (const [outage, fail] of Object.entries(OUTAGES)) {
  const seen = await Promise.all(CONTENDERS.map(async (name) => [name, await watch(name, fail)] as const));
  all[outage] = Object.fromEntries(seen);
  for (const [name, { visits, failedAt, backAt }] of seen) {
    const during = visits.filter(({ at }) => at >= failedAt && at < backAt);
    const failed = during.filter(({ isOk }) => !isOk).length;
    const outcomes: Record<string, number> = {};
    for (const { outcome } of visits) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    console.error(`${outage}: ${name}`, outcomes);
    const lastError = visits.filter(({ at, ms, isOk }) => !isOk && at + ms > backAt).at(-1);
    const afterS = lastError === undefined ? 0 : (lastError.at + lastError.ms - backAt) / 1_000;
    const percent = `${short((100 * failed) / during.length)} %`;
    rows.push([
      `${outage}: ${name}`,
      percent,
      ...[0.5, 0.99, 1].map((q) => short(tookMs(during, q))),
      short(afterS),
    ]);
  }
}
console.log(
  table(
    ["Redis, and the store", "errors", "p50, ms", "p99, ms", "longest, ms", "errors end after it is back, s"],
    rows,
  ),
);
drawStrips(
  "outage",
  "What visitors see when Redis is away",
  "each bar is a second of requests, by when they began",
  [`a page within ${FAST_MS} ms`, "a page later", "an error"],
  Object.entries(all).map(([title, seen]) => ({
    title: `Redis ${title}`,
    from: CALM_S,
    to: CALM_S + OUTAGE_S,
    strips: CONTENDERS.map((name) => ({
      label: name,
      stacks: (seen[name]?.seconds ?? []).map(({ fast, slow, failed }) => [fast, slow, failed]),
    })),
  })),
);
const memory = isAboutVisitors ? undefined : await measureMemory(isQuick ? 10 : 60);
const recovery = isAboutVisitors ? undefined : await measureRecovery(isQuick ? 2 : 8, isQuick ? 8 : 20);
const seconds = Object.fromEntries(
  Object.entries(all).map(([outage, seen]) => [
    outage,
    Object.fromEntries(Object.entries(seen).map(([name, { seconds: each }]) => [name, each])),
  ]),
);
writeResults("outage", { machine: ranOn, rows, seconds, memory, recovery }, isQuick || isAboutVisitors);
