import { CONTENDER_NAMES, type ContenderName, labelOf } from "./contender/stores.ts";
import { MIX_NAMES, type Mix, nameOf, type Scene } from "./plan.ts";
import { type HttpSample, type Sample, type Samples, whereOf } from "./samples.ts";
import { short, shortSpread } from "./support/statistics.ts";
import { table } from "./support/table.ts";

type Cell = (contender: ContenderName, mix: Mix) => string;

function byMix(title: string, cell: Cell): string {
  const rows = CONTENDER_NAMES.map((name) => [labelOf(name), ...MIX_NAMES.map((mix) => cell(name, mix))]);
  return `\n**${title}**\n\n${table(["store", ...MIX_NAMES], rows)}`;
}

/** A figure with its spread and how often it is the null store's. */
function withRatio(samples: Samples<Sample>, scene: Scene, figure: (sample: Sample) => number): Cell {
  return (contender, mix) => {
    const where = whereOf(scene, mix);
    const spread = shortSpread(samples.spread(contender, where, figure));
    const ratio = samples.ratio(contender, "null store", where, figure).median;
    return `${spread} ${ratio.toFixed(2)}×`;
  };
}

function commandsOf(samples: Samples<Sample>, scene: Scene): Cell {
  const names = [
    "GET",
    "GETRANGE",
    "PTTL",
    "SET",
    "EXPIRE",
    "PEXPIRE",
    "DEL",
    "MULTI",
    "PUBLISH",
    "EXEC",
    "EVALSHA",
  ];
  return (contender, mix) => {
    const rate = (command: string) =>
      samples.spread(contender, whereOf(scene, mix), ({ commands }) => commands[command] ?? 0).median;
    const each = names.filter((command) => rate(command) >= 0.005);
    const detail = each.map((command) => `${command} ${rate(command).toFixed(2)}`).join(", ");
    return `${rate("all").toFixed(2)}${detail === "" ? "" : `: ${detail}`}`;
  };
}

/** The tables of one scene. */
export function reportScene(samples: Samples<Sample>, scene: Scene): string {
  return [
    `\n### ${nameOf(scene)}`,
    byMix(
      "µs per request, one after another; × the null store's",
      withRatio(samples, scene, ({ wallUs }) => wallUs),
    ),
    byMix(
      "µs of the process's CPU per request",
      withRatio(samples, scene, ({ cpuUs }) => cpuUs),
    ),
    byMix("requests per second, 16 at a time", (contender, mix) =>
      shortSpread(samples.spread(contender, whereOf(scene, mix), ({ perSecond }) => perSecond)),
    ),
    byMix("Redis commands per request, heartbeats apart", commandsOf(samples, scene)),
    byMix("µs of Redis's CPU per request", (contender, mix) =>
      shortSpread(samples.spread(contender, whereOf(scene, mix), ({ redisCpuUs }) => redisCpuUs)),
    ),
  ].join("\n");
}

export function reportHttp(samples: Samples<HttpSample>, scene: Scene, mix: Mix): string {
  const columns: [string, (sample: HttpSample) => number][] = [
    ["p50, ms", ({ p50 }) => p50],
    ["p99, ms", ({ p99 }) => p99],
    ["requests/s", ({ perSecond }) => perSecond],
    ["event loop p99, ms", ({ loopDelayMs }) => loopDelayMs],
  ];
  const rows = CONTENDER_NAMES.map((name) => [
    labelOf(name),
    ...columns.map(([, figure]) => shortSpread(samples.spread(name, whereOf(scene, mix), figure))),
  ]);
  const title = `\n### Over HTTP: express, ${mix}, ${nameOf(scene)}\n`;
  return `${title}\n${table(["store", ...columns.map(([head]) => head)], rows)}`;
}

export function reportMemory(bytes: ReadonlyMap<ContenderName, number>): string {
  const rows = [...bytes].map(([name, each]) => [labelOf(name), short(each)]);
  return `\n### Memory: bytes of the process per session of 1 KB, 10,000 written and read\n\n${table(["store", "bytes"], rows)}`;
}
