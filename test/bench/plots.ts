import { CONTENDER_NAMES, type ContenderName, labelOf, READERS } from "./contender/names.ts";
import { MAIN, MIX_NAMES, nameOf, type Scene, USUAL_IN_FLIGHT } from "./plan.ts";
import type { Results } from "./results.ts";
import { commands, redisCpuUs, type Sample, Samples, wallUs, whereOf } from "./samples.ts";
import { EVERY_MS, STALL_MS, type Stalled } from "./stall.ts";
import { type Bar, type BarGroup, drawBars } from "./support/bar-chart.ts";
import { type Spread, spreadOf } from "./support/statistics.ts";

const barOf = (name: ContenderName, value: Spread): Bar => ({
  label: labelOf(name),
  value,
  kind: name === "ours" ? "ours" : "other",
});

function groupsOf(
  samples: Samples<Sample>,
  scene: Scene,
  figure: (sample: Sample) => number,
  names: readonly ContenderName[] = CONTENDER_NAMES,
): readonly BarGroup[] {
  return MIX_NAMES.map((mix) => ({
    title: mix,
    bars: names.map((name) => barOf(name, samples.spread(name, whereOf(scene, mix), figure))),
  }));
}

/** One picture for each question. */
export function drawPlots({ requests, stalled }: Results): void {
  const samples = new Samples(requests);
  const usual = `${USUAL_IN_FLIGHT} requests in flight; median and quartiles; shorter is better`;
  const redis = (sample: Sample) => redisCpuUs(sample[USUAL_IN_FLIGHT]);
  for (const [name, scene] of [
    ["time-loopback", MAIN.loopback],
    ["time-1ms", MAIN["1 ms away"]],
  ] as const) {
    drawBars(
      name,
      "Time in express-session's middleware, per request",
      `${nameOf(scene)}; median and quartiles; shorter is better`,
      "µs",
      groupsOf(samples, scene, (sample) => wallUs(sample[1])),
    );
  }
  drawBars(
    "commands",
    "Redis commands per request",
    `${nameOf(MAIN.loopback)}; heartbeats apart; shorter is better`,
    "",
    groupsOf(samples, MAIN.loopback, (sample) => commands(sample[1])),
  );
  drawBars(
    "redis-cpu",
    "Redis's CPU per request",
    `${nameOf(MAIN.loopback)}; ${usual}`,
    "µs",
    groupsOf(samples, MAIN.loopback, redis),
  );
  // The README's picture: what changing the store saves.
  drawBars(
    "saved-cpu",
    "Redis's CPU per request",
    `sessions of 1 KB; ${usual}`,
    "µs",
    groupsOf(samples, MAIN.loopback, redis, ["connect-redis", "ours"]),
  );
  if (stalled) drawStall(stalled);
}

function drawStall(stalled: Stalled): void {
  drawBars(
    "stall",
    `Time per request while Redis stalls for ${STALL_MS} ms of each second`,
    `read-only, 1 KB, one every ${EVERY_MS} ms; median and quartiles of the rounds; shorter is better; each group has its own scale`,
    "ms",
    (["p50", "p99"] as const).map((percentile) => ({
      title: { p50: "median", p99: "99th percentile" }[percentile],
      bars: READERS.map((name) => barOf(name, spreadOf(stalled[name]?.[percentile] ?? []))),
    })),
  );
}
