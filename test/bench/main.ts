// npm run bench: what a request costs with each store, all of them side by side.
//   --quick    the figures without HTTP, stalls, silence and memory, in two minutes; changes no document
//   --publish  measures nothing: prints and writes the tables and pictures of the last full run again, and of bench:micro and bench:fan-out
import { createClient } from "redis";
import { serverOnPath } from "../support/redis/process.ts";
import { startRedis } from "../support/redis-server.ts";
import { CONTENDER_NAMES, type ContenderName } from "./contender/names.ts";
import {
  type ContenderProcess,
  roundOfRequests,
  roundOfWrites,
  roundOverHttp,
  type Stage,
} from "./measure.ts";
import { type Distance, MAIN, type Plan, planFor } from "./plan.ts";
import { drawPlots } from "./plots.ts";
import type { handlers as proxyHandlers } from "./proxy.ts";
import { publish } from "./publish.ts";
import { report } from "./report.ts";
import type { Results, RoundTrips } from "./results.ts";
import { type HttpSample, type Sample, Samples } from "./samples.ts";
import { measureSilence } from "./silence.ts";
import { measureStall } from "./stall.ts";
import { describe, machine } from "./support/machine.ts";
import { place, placement } from "./support/placement.ts";
import { earlierResults, writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";

const PACKAGES = ["redis", "express-session", "express", "connect-redis", "autocannon"];
const STALL_ROUNDS = 3;
const CACHED_SESSIONS = 10_000;

const here = (file: string) => new URL(file, import.meta.url);

const started = performance.now();
const progress = (what: string) =>
  console.error(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s: ${what}`);

async function measure(plan: Plan, isQuick: boolean): Promise<Results> {
  // Only a Redis that is started here inherits the CPU, as all does that is started from here on.
  const places = serverOnPath() === undefined ? undefined : placement();
  if (places !== undefined) place(process.pid, places.redis);
  const server = await startRedis({ own: true });
  const ranOn = machine(server.version, PACKAGES, places);
  console.log(`${describe(ranOn)}\n${plan.rounds} rounds of ${plan.slices} turns; median (quartiles)`);
  const redis = createClient({ url: server.url });
  await redis.connect();
  const proxy = new Remote<typeof proxyHandlers>(here("proxy.ts"), [server.url]);
  const contenders = new Map<ContenderName, ContenderProcess>(
    CONTENDER_NAMES.map((name) => [name, new Remote(here("contender/main.ts"), [name])]),
  );
  for (const { pid } of contenders.values()) if (places !== undefined) place(pid, places.stores);
  const stage: Stage = {
    plan,
    redis: redis as unknown as Stage["redis"],
    urls: { loopback: server.url, "1 ms away": await proxy.call("url", 1) },
    contenders,
    load: new Remote(here("load.ts")),
  };
  const [requests, writes] = [new Samples<Sample>(), new Samples<Sample>()];
  const roundTrips: Record<Distance, RoundTrips[]> = { loopback: [], "1 ms away": [] };
  for (let round = 1; round <= plan.rounds; round++) {
    await roundOfRequests(stage, requests);
    await roundOfWrites(stage, writes);
    for (const distance of ["loopback", "1 ms away"] as const) {
      const ours = contenders.get("ours") as ContenderProcess;
      await ours.call("prepare", { redisUrl: stage.urls[distance], ...MAIN[distance] });
      roundTrips[distance].push(await ours.call("roundTrips", 100));
    }
    progress(`requests and writes, round ${round} of ${plan.rounds}`);
  }
  const results = { machine: ranOn, plan, roundTrips, requests: requests.toJSON(), writes: writes.toJSON() };
  const more = isQuick ? {} : await measureMore(stage);
  for (const contender of [...contenders.values(), stage.load, proxy]) await contender.end();
  redis.destroy();
  await server.stop();
  return { ...results, ...more };
}

async function measureMore(stage: Stage): Promise<Partial<Results>> {
  const http = new Samples<HttpSample>();
  for (let round = 1; round <= stage.plan.httpRounds; round++) {
    for (const scene of Object.values(MAIN)) await roundOverHttp(stage, scene, http);
    progress(`over HTTP, round ${round} of ${stage.plan.httpRounds}`);
  }
  const memory: Partial<Record<ContenderName, number>> = {};
  for (const [name, contender] of stage.contenders) {
    await contender.call("prepare", { redisUrl: stage.urls.loopback, ...MAIN.loopback });
    memory[name] = await contender.call("memory", CACHED_SESSIONS);
  }
  progress("memory");
  const stalled = await measureStall(STALL_ROUNDS);
  progress("while Redis stalls");
  const silent = await measureSilence();
  progress("silent connections");
  return { http: http.toJSON(), memory, stalled, silent };
}

const isQuick = process.argv.includes("--quick");
const isPublishing = process.argv.includes("--publish");
const results = isPublishing ? earlierResults<Results>("bench") : await measure(planFor(isQuick), isQuick);
if (results === undefined) throw new Error("There is no test/bench/results/bench.json");
if (!isPublishing) writeResults("bench", results, isQuick);
// What is published is what is in the file: with as many digits.
const parts = report(earlierResults<Results>(isQuick ? "bench-quick" : "bench") as Results);
const isShown = (name: string) => !isQuick || ["machine", "headline", "writes"].includes(name);
for (const [name, part] of Object.entries(parts)) if (isShown(name)) console.log(`\n### ${name}\n\n${part}`);
if (!isQuick) {
  publish(parts);
  drawPlots(earlierResults<Results>("bench") as Results);
}
