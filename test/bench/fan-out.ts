// npm run bench:fan-out: what a write costs Redis and the processes that cache its session, how soon they receive its message, and
// what a miss costs; with one Redis, and in a Cluster.
//   --quick    fewer rounds; changes no document
//   --publish  measures nothing: prints and writes the tables and the picture of the last full run again
import {
  CLUSTER_MODES,
  type Cost,
  IN_FLIGHT,
  MODES,
  MOST_PROCESSES,
  PRIMARIES,
  PROCESSES,
  READ_KINDS,
  READS,
} from "./fan-out/plan.ts";
import { type FanOutResults, report } from "./fan-out/report.ts";
import { Site } from "./fan-out/site.ts";
import { publish } from "./publish.ts";
import { drawCurves } from "./support/line-chart.ts";
import { machine } from "./support/machine.ts";
import { earlierResults, writeResults } from "./support/results.ts";
import { quantile, spreadOf } from "./support/statistics.ts";

const isQuick = process.argv.includes("--quick");
const isPublishing = process.argv.includes("--publish");
const ROUNDS = isQuick ? 2 : 5;
const FOR_MS = isQuick ? 1_000 : 2_000;
const LATENCIES = isQuick ? 150 : 400;

async function measure(): Promise<FanOutResults> {
  const single = await Site.single();
  const cluster = await Site.cluster(PRIMARIES);
  const ranOn = machine(single.redisVersion, ["redis", "express-session"]);
  const costs: Record<string, Cost[]> = {};
  const add = (key: string, cost: Cost) => {
    costs[key] = [...(costs[key] ?? []), cost];
  };
  const took = { latency: [] as number[][], ping: [] as number[][] };
  for (const site of [single, cluster]) await site.fanOut("all", 2, FOR_MS);
  for (let round = 1; round <= ROUNDS; round++) {
    const { invalidations, pings } = await single.latencies(LATENCIES);
    took.latency.push(invalidations);
    took.ping.push(pings);
    for (const processes of PROCESSES) {
      for (const mode of MODES)
        add(`single/${mode}/${processes}`, await single.fanOut(mode, processes, FOR_MS));
    }
    for (const mode of CLUSTER_MODES)
      add(`cluster/${mode}/${MOST_PROCESSES}`, await cluster.fanOut(mode, MOST_PROCESSES, FOR_MS));
    add("cluster/idle", await cluster.idle(FOR_MS));
    for (const inFlight of IN_FLIGHT) {
      for (const kind of READ_KINDS) {
        const options = { count: isQuick ? READS[inFlight] / 2 : READS[inFlight], inFlight, kind };
        add(`single/${kind}/${inFlight}`, await single.readOnce(options));
        add(`cluster/${kind}/${inFlight}`, await cluster.readOnce(options));
      }
    }
    console.error(`round ${round} of ${ROUNDS}`);
  }
  const bytesPerSubscription = [];
  for (const caching of [1, 3, 100])
    bytesPerSubscription.push([caching, await single.bytesPerSubscription(caching)] as const);
  for (const site of [single, cluster]) await site.end();
  const at = (q: number, all: readonly number[][]) => spreadOf(all.map((sorted) => quantile(sorted, q)));
  const spreads = {
    "latency/p50": at(0.5, took.latency),
    "latency/p99": at(0.99, took.latency),
    "ping/p50": at(0.5, took.ping),
    "ping/p99": at(0.99, took.ping),
  };
  return { machine: ranOn, rounds: ROUNDS, costs, bytesPerSubscription, spreads };
}

if (!isPublishing) writeResults("fan-out", await measure(), isQuick);
// What is published is what is in the file: with as many digits.
const results = earlierResults<FanOutResults>(isQuick ? "fan-out-quick" : "fan-out");
if (results === undefined) throw new Error("There is no test/bench/results/fan-out.json");
const parts = report(results);
for (const [name, part] of Object.entries(parts)) console.log(`\n### ${name}\n\n${part}`);
if (!isQuick) {
  publish(parts);
  const points = (mode: string) =>
    PROCESSES.map((count) => {
      const all = results.costs[`single/${mode}/${count}`] ?? [];
      return [count, spreadOf(all.map(({ redisUs: [owner = 0] }) => owner))] as const;
    });
  drawCurves(
    "fan-out",
    "What a write costs Redis when more processes run",
    { x: "processes", y: "µs of Redis's CPU for each write" },
    [
      { label: "one channel for all", kind: "third", points: points("shared") },
      { label: "own channels, three cache it", kind: "ours", points: points("three") },
    ],
  );
}
