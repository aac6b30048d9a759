import { CONTENDER_NAMES, type ContenderName, labelOf } from "./contender/stores.ts";
import { MIX_NAMES, nameOf, type Scene } from "./plan.ts";
import { type Sample, type Samples, whereOf } from "./samples.ts";
import { type BarGroup, drawBars } from "./support/bar-chart.ts";

function groupsOf(
  samples: Samples<Sample>,
  scene: Scene,
  figure: (sample: Sample) => number,
  names: readonly ContenderName[] = CONTENDER_NAMES,
): readonly BarGroup[] {
  return MIX_NAMES.map((mix) => ({
    title: mix,
    bars: names.map((name) => ({
      label: labelOf(name),
      value: samples.spread(name, whereOf(scene, mix), figure),
      kind: name === "ours" ? "ours" : "other",
    })),
  }));
}

/** One picture for each question. */
export function drawPlots(samples: Samples<Sample>, scenes: readonly Scene[]): void {
  for (const scene of scenes) {
    const near = scene.distance === "loopback";
    drawBars(
      near ? "time-loopback" : "time-1ms",
      "Time in express-session's middleware, per request",
      `${nameOf(scene)}; median and quartiles; shorter is better`,
      "µs",
      groupsOf(samples, scene, ({ wallUs }) => wallUs),
    );
    if (!near) continue;
    drawBars(
      "commands",
      "Redis commands per request",
      `${nameOf(scene)}; heartbeats apart; shorter is better`,
      "",
      groupsOf(samples, scene, ({ commands }) => commands["all"] ?? 0),
    );
    drawBars(
      "redis-cpu",
      "Redis's CPU per request",
      `${nameOf(scene)}; median and quartiles; shorter is better`,
      "µs",
      groupsOf(samples, scene, ({ redisCpuUs }) => redisCpuUs),
    );
    drawSavings(samples, scene);
  }
}

/** The README's picture: what changing the store saves. */
export function drawSavings(samples: Samples<Sample>, scene: Scene): void {
  drawBars(
    "saved-cpu",
    "Redis's CPU per request",
    "requests of 1 KB sessions, by reads/writes; median and quartiles; shorter is better",
    "µs",
    groupsOf(samples, scene, ({ redisCpuUs }) => redisCpuUs, ["connect-redis", "ours"]),
  );
}
