// npm run bench [-- --quick]: what a request costs with each store, all of them side by side.
import { createClient } from "redis";
import { startRedis } from "../support/redis-server.ts";
import { CONTENDER_NAMES, type ContenderName } from "./contender/stores.ts";
import { type ContenderProcess, roundInProcess, roundOverHttp, type Stage } from "./measure.ts";
import { isMain, planFor, type Scene } from "./plan.ts";
import { drawPlots } from "./plots.ts";
import type { handlers as proxyHandlers } from "./proxy.ts";
import { reportHttp, reportMemory, reportScene } from "./report.ts";
import { type HttpSample, type Sample, Samples } from "./samples.ts";
import { describe, machine } from "./support/machine.ts";
import { writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";
import { type RoundTrips, reportTargets, targetsOf } from "./targets.ts";

const HTTP_MIX = "90/10";
const PACKAGES = ["redis", "express-session", "express", "connect-redis", "autocannon"];

const here = (file: string) => new URL(file, import.meta.url);
const isQuick = process.argv.includes("--quick");
const plan = planFor(isQuick);
const server = await startRedis({ own: true });
const ranOn = machine(server.version, PACKAGES);
console.log(`${describe(ranOn)}\n${plan.rounds} rounds of ${plan.slices} turns; median (quartiles)`);

const redis = createClient({ url: server.url });
await redis.connect();
const proxy = new Remote<typeof proxyHandlers>(here("proxy.ts"), [server.url]);
const contenders = new Map<ContenderName, ContenderProcess>(
  CONTENDER_NAMES.map((name) => [name, new Remote(here("contender/main.ts"), [name])]),
);
const stage: Stage = {
  plan,
  redis: redis as unknown as Stage["redis"],
  urls: { loopback: server.url, "1 ms away": await proxy.call("url", 1) },
  contenders,
  load: new Remote(here("load.ts")),
};

const started = performance.now();
const progress = (what: string) =>
  console.error(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s: ${what}`);

const samples = new Samples<Sample>();
for (let round = 1; round <= plan.rounds; round++) {
  await roundInProcess(stage, samples);
  progress(`in process, round ${round} of ${plan.rounds}`);
}

const main = plan.scenes.filter(isMain);
const http = new Samples<HttpSample>();
for (let round = 1; round <= plan.httpRounds; round++) {
  for (const scene of main) await roundOverHttp(stage, scene, HTTP_MIX, http);
  progress(`over HTTP, round ${round} of ${plan.httpRounds}`);
}

const roundTrips: RoundTrips[] = [];
const near = { redisUrl: stage.urls["1 ms away"], bytes: 1000, maxAgeMs: 3_600_000 };
const our = contenders.get("ours") as ContenderProcess;
await our.call("prepare", near);
for (let round = 1; round <= plan.rounds; round++) roundTrips.push(await our.call("roundTrips", 100));

const memory = new Map<ContenderName, number>();
for (const [name, contender] of contenders) {
  await contender.call("prepare", { ...near, redisUrl: server.url });
  memory.set(name, await contender.call("memory", plan.cachedSessions));
}
progress("memory");

for (const contender of [...contenders.values(), stage.load, proxy]) await contender.end();
redis.destroy();
await server.stop();

for (const scene of plan.scenes) console.log(reportScene(samples, scene));
for (const scene of main) console.log(reportHttp(http, scene, HTTP_MIX));
console.log(reportMemory(memory));
console.log(reportTargets(targetsOf(samples, plan.scenes, roundTrips)));
writeResults("latest", {
  machine: ranOn,
  plan,
  inProcess: samples,
  http,
  roundTrips,
  memory: Object.fromEntries(memory),
});
// The pictures are the documentation's: a quick look is not good enough for them.
if (!isQuick) drawPlots(samples, main as readonly Scene[]);
