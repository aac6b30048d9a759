import type { createClient } from "redis";
import type { handlers as contenderHandlers } from "./contender/main.ts";
import { CONTENDER_NAMES, type ContenderName } from "./contender/stores.ts";
import type { handlers as loadHandlers } from "./load.ts";
import { MIX_NAMES, MIXES, type Mix, type Plan, type Scene } from "./plan.ts";
import { type HttpSample, type Sample, type Samples, whereOf } from "./samples.ts";
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

const CONCURRENT = 16;

async function eachContender(
  { contenders }: Stage,
  act: (contender: ContenderProcess, name: ContenderName) => Promise<void>,
): Promise<void> {
  for (const name of CONTENDER_NAMES) await act(contenders.get(name) as ContenderProcess, name);
}

const prepare = (stage: Stage, { distance, bytes, maxAgeMs }: Scene) =>
  eachContender(stage, (contender) =>
    contender.call("prepare", { redisUrl: stage.urls[distance], bytes, maxAgeMs }),
  );

/** Heartbeats are the PUBLISHes that came with no write, of all processes there are. */
function split(
  work: RedisWork,
  published: number,
  requests: number,
): Pick<Sample, "commands" | "heartbeats"> {
  const { PUBLISH = 0, ...others } = work.calls;
  const calls = published > 0 ? { ...others, PUBLISH: published } : others;
  const commands = Object.fromEntries(
    Object.entries(calls).map(([command, count]) => [command, count / requests]),
  );
  const all = Object.values(commands).reduce((sum, count) => sum + count, 0);
  return { commands: { ...commands, all }, heartbeats: PUBLISH - published };
}

async function sampleOf(stage: Stage, contender: ContenderProcess, mix: Mix): Promise<Sample> {
  const { sequentialMs, concurrentMs } = stage.plan;
  const writes = MIXES[mix];
  const publishedBefore = await contender.call("published");
  const before = await redisWork(stage.redis);
  const one = await contender.call("inProcess", { writes, concurrency: 1, forMs: sequentialMs });
  const many = await contender.call("inProcess", { writes, concurrency: CONCURRENT, forMs: concurrentMs });
  const work = since(before, await redisWork(stage.redis));
  const published = (await contender.call("published")) - publishedBefore;
  const requests = one.requests + many.requests;
  return {
    wallUs: one.wallUs / one.requests,
    cpuUs: one.cpuUs / one.requests,
    perSecond: (1e6 * many.requests) / many.wallUs,
    ...split(work, published, requests),
    redisCpuUs: work.cpuUs / requests,
  };
}

/** All contenders one after another, in every scene and mix. */
export async function roundInProcess(stage: Stage, samples: Samples<Sample>): Promise<void> {
  for (const scene of stage.plan.scenes) {
    await prepare(stage, scene);
    for (const mix of MIX_NAMES) {
      const warmUp = { writes: MIXES[mix], concurrency: CONCURRENT, forMs: stage.plan.warmUpMs };
      await eachContender(stage, async (contender) => void (await contender.call("inProcess", warmUp)));
      for (let slice = 0; slice < stage.plan.slices; slice++) {
        await eachContender(stage, async (contender, name) => {
          samples.add(name, whereOf(scene, mix), await sampleOf(stage, contender, mix));
        });
      }
    }
  }
}

export async function roundOverHttp(
  stage: Stage,
  scene: Scene,
  mix: Mix,
  samples: Samples<HttpSample>,
): Promise<void> {
  const { lightMs, fullMs } = stage.plan;
  await prepare(stage, scene);
  await eachContender(stage, async (contender, name) => {
    const load = { ...(await contender.call("listen")), writes: MIXES[mix] };
    await stage.load.call("light", { ...load, forMs: lightMs / 4 });
    const latency = await stage.load.call("light", { ...load, forMs: lightMs });
    await contender.call("startWatching");
    const perSecond = await stage.load.call("full", { ...load, forMs: fullMs });
    const loopDelayMs = await contender.call("stopWatching");
    await contender.call("stopListening");
    samples.add(name, whereOf(scene, mix), { ...latency, perSecond, loopDelayMs });
  });
}
