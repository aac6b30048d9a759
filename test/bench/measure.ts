import type { createClient } from "redis";
import type { TurnOptions } from "./contender/in-process.ts";
import type { handlers as contenderHandlers } from "./contender/main.ts";
import { CONTENDER_NAMES, type ContenderName, REDIS_CONTENDERS } from "./contender/names.ts";
import type { handlers as loadHandlers } from "./load.ts";
import {
  HTTP_MIX,
  HTTP_STEADY_RATE,
  IN_FLIGHT,
  MAIN,
  MIXES,
  mixesOf,
  type Plan,
  type Scene,
} from "./plan.ts";
import { type Cost, type HttpSample, type Sample, type Samples, whereOf } from "./samples.ts";
import { type RedisWork, redisWork, since } from "./support/redis-info.ts";
import type { Remote } from "./support/rpc.ts";

export type ContenderProcess = Remote<typeof contenderHandlers>;
export type LoadProcess = Remote<typeof loadHandlers>;

export interface Stage {
  readonly plan: Plan;
  readonly redis: ReturnType<typeof createClient>;
  readonly urls: Readonly<Record<Scene["distance"], string>>;
  readonly contenders: ReadonlyMap<ContenderName, ContenderProcess>;
  readonly load: LoadProcess;
}

/** For how long each contender runs before it is measured, so that its code is compiled and its caches are full. */
const WARM_UP_MS = 200;

async function eachContender(
  { contenders }: Stage,
  act: (contender: ContenderProcess, name: ContenderName) => Promise<void>,
  names: readonly ContenderName[] = CONTENDER_NAMES,
): Promise<void> {
  for (const name of names) await act(contenders.get(name) as ContenderProcess, name);
}

const prepare = (stage: Stage, { distance, bytes, maxAgeMs }: Scene) =>
  eachContender(stage, (contender) =>
    contender.call("prepare", { redisUrl: stage.urls[distance], bytes, maxAgeMs }),
  );

/** Heartbeats are the PUBLISHes that came with no write, of all processes there are, and the scripts that contain them. */
function commandsOf(work: RedisWork, published: number, count: number): Cost["commands"] {
  const { PUBLISH = 0, EVALSHA = 0, ...others } = work.calls;
  const scripts = Math.max(0, EVALSHA - Math.max(0, PUBLISH - published));
  const calls = {
    ...others,
    ...(published > 0 && { PUBLISH: published }),
    ...(scripts > 0 && { EVALSHA: scripts }),
  };
  const commands = Object.fromEntries(Object.entries(calls).map(([command, n]) => [command, n / count]));
  return { ...commands, all: Object.values(commands).reduce((sum, n) => sum + n, 0) };
}

type Turn = { readonly count: number; readonly wallUs: number; readonly cpuUs: number };

async function costOf(stage: Stage, contender: ContenderProcess, act: () => Promise<Turn>): Promise<Cost> {
  const publishedBefore = await contender.call("published");
  const before = await redisWork(stage.redis);
  const { count, wallUs, cpuUs } = await act();
  const work = since(before, await redisWork(stage.redis));
  const published = (await contender.call("published")) - publishedBefore;
  return {
    wallUs: wallUs / count,
    cpuUs: cpuUs / count,
    redisCpuUs: work.cpuUs / count,
    commands: commandsOf(work, published, count),
  };
}

async function warmUp(act: (options: TurnOptions) => Promise<unknown>): Promise<void> {
  for (const inFlight of IN_FLIGHT) await act({ inFlight, forMs: WARM_UP_MS });
}

/** One turn of one contender. @param act runs with so many in flight, for so long */
async function sampleOf(
  stage: Stage,
  contender: ContenderProcess,
  act: (options: TurnOptions) => Promise<Turn>,
  turnMs: Plan["turnMs"] = stage.plan.turnMs,
): Promise<Sample> {
  const costs: Partial<Record<number, Cost>> = {};
  for (const inFlight of IN_FLIGHT) {
    const forMs = turnMs[inFlight];
    costs[inFlight] = await costOf(stage, contender, () => act({ inFlight, forMs }));
  }
  return costs as Sample;
}

/** All contenders one after another, in every scene and mix. */
export async function roundOfRequests(stage: Stage, samples: Samples<Sample>): Promise<void> {
  for (const scene of stage.plan.scenes) {
    await prepare(stage, scene);
    for (const mix of mixesOf(scene)) {
      const writes = MIXES[mix];
      await eachContender(stage, (contender) =>
        warmUp((options) => contender.call("requests", { writes, ...options })),
      );
      for (let slice = 0; slice < stage.plan.slices; slice++) {
        await eachContender(stage, async (contender, name) => {
          const act = (options: TurnOptions) => contender.call("requests", { writes, ...options });
          samples.add(name, whereOf(scene, mix), await sampleOf(stage, contender, act));
        });
      }
    }
  }
}

/** `store.set` alone, without express-session, Redis on loopback. */
export async function roundOfWrites(stage: Stage, samples: Samples<Sample>): Promise<void> {
  await prepare(stage, MAIN.loopback);
  const eachRedis = (act: Parameters<typeof eachContender>[1]) => eachContender(stage, act, REDIS_CONTENDERS);
  await eachRedis((contender) => warmUp((options) => contender.call("writes", options)));
  for (let slice = 0; slice < stage.plan.slices; slice++) {
    await eachRedis(async (contender, name) => {
      const act = (options: TurnOptions) => contender.call("writes", options);
      samples.add(name, "writes", await sampleOf(stage, contender, act, stage.plan.writeTurnMs));
    });
  }
}

export async function roundOverHttp(stage: Stage, scene: Scene, samples: Samples<HttpSample>): Promise<void> {
  await prepare(stage, scene);
  await eachContender(stage, async (contender, name) => {
    const load = { ...(await contender.call("listen")), writes: MIXES[HTTP_MIX] };
    await stage.load.call("light", { ...load, forMs: 200 });
    const latency = await stage.load.call("light", { ...load, forMs: 800 });
    await contender.call("startWatching");
    const perSecond = await stage.load.call("full", load);
    const { delayMs: loopDelayMs } = await contender.call("stopWatching");
    await contender.call("startWatching");
    await stage.load.call("steady", { ...load, perSecond: HTTP_STEADY_RATE });
    const { cores: steadyCores } = await contender.call("stopWatching");
    await contender.call("stopListening");
    samples.add(name, whereOf(scene, HTTP_MIX), { ...latency, perSecond, loopDelayMs, steadyCores });
  });
}
