import {
  CONTENDER_NAMES,
  type ContenderName,
  labelOf,
  READERS,
  REDIS_CONTENDERS,
} from "./contender/names.ts";
import {
  HTTP_MIX,
  HTTP_STEADY_RATE,
  IN_FLIGHT,
  type InFlight,
  isMain,
  MAIN,
  MIX_NAMES,
  type Mix,
  mixesOf,
  nameOf,
  type Scene,
  USUAL_IN_FLIGHT,
} from "./plan.ts";
import type { Results } from "./results.ts";
import {
  type Cost,
  commands,
  cpuUs,
  type HttpSample,
  redisCpuUs,
  type Sample,
  Samples,
  wallUs,
  whereOf,
} from "./samples.ts";
import { PERCENTILES, type Percentile } from "./stall.ts";
import { describe } from "./support/machine.ts";
import { short, shortSpread, spreadOf } from "./support/statistics.ts";
import { table } from "./support/table.ts";
import { reportTargets } from "./targets.ts";

/** The figures of a request, or a write, with so many in flight. */
const at = (inFlight: InFlight, figure: (cost: Cost) => number) => (sample: Sample) =>
  figure(sample[inFlight]);

/** The parts of the documentation that a run writes, by name. */
export function report(results: Results): Readonly<Record<string, string>> {
  const requests = new Samples(results.requests);
  const others = results.plan.scenes.filter((scene) => !isMain(scene));
  return {
    machine: machineOf(results),
    headline: headline(requests),
    time: [MAIN["1 ms away"], MAIN.loopback].map((scene) => timeOf(requests, scene)).join("\n\n"),
    "requests in flight": inFlightOf(requests),
    commands: byMix(commandsOf(requests, MAIN.loopback)),
    writes: writesOf(new Samples(results.writes)),
    ...(others.length > 0 && {
      "other sessions": others.map((scene) => timeOf(requests, scene)).join("\n\n"),
    }),
    ...(results.http && { HTTP: httpOf(new Samples(results.http)) }),
    ...(results.stalled && { stall: stallOf(results.stalled) }),
    ...(results.silent && { silence: silenceOf(results.silent) }),
    ...(results.memory && { memory: memoryOf(results.memory) }),
    targets: reportTargets(results),
  };
}

function machineOf({ machine, plan, roundTrips }: Results): string {
  const pingMs = (distance: keyof typeof roundTrips) =>
    short(spreadOf(roundTrips[distance].map(({ ping }) => ping / 1000)).median);
  return [
    `Measured on ${machine.date}: ${describe(machine)}; ${plan.rounds * plan.slices} turns.`,
    `"Redis 1 ms away" is a proxy through which a PING takes ${pingMs("1 ms away")} ms; on loopback it takes ${pingMs("loopback")} ms.`,
  ].join(" ");
}

type Cell = (contender: ContenderName, mix: Mix) => string;

function byMix(cell: Cell, mixes: readonly Mix[] = MIX_NAMES): string {
  const rows = CONTENDER_NAMES.map((name) => [labelOf(name), ...mixes.map((mix) => cell(name, mix))]);
  return table(["store", ...mixes], rows);
}

function headline(samples: Samples<Sample>): string {
  const median = (name: ContenderName, scene: Scene, mix: Mix, figure: (sample: Sample) => number) =>
    samples.spread(name, whereOf(scene, mix), figure).median;
  const { loopback } = MAIN;
  const redis = at(USUAL_IN_FLIGHT, redisCpuUs);
  const all = (name: ContenderName, scene: Scene, figure: (sample: Sample) => number) =>
    MIX_NAMES.map((mix) => short(median(name, scene, mix, figure))).join(" / ");
  const saved = (["read-only", "90/10", "50/50", "write-only"] as const).map((mix) => {
    const [ours, theirs] = [
      median("ours", loopback, mix, redis),
      median("connect-redis", loopback, mix, redis),
    ];
    return `${short(ours)} instead of ${short(theirs)} µs (${mix})`;
  });
  return [
    `**Redis's CPU for a request:** ${saved.join(", ")}, with this package instead of connect-redis 9, ${USUAL_IN_FLIGHT} requests in flight.`,
    "",
    table(
      ["store", "Redis's CPU, µs", "time, Redis 1 ms away, µs", "time, Redis on loopback, µs"],
      CONTENDER_NAMES.map((name) => [
        labelOf(name),
        all(name, loopback, redis),
        all(name, MAIN["1 ms away"], at(1, wallUs)),
        all(name, loopback, at(1, wallUs)),
      ]),
    ),
  ].join("\n");
}

/** How long a request takes, with its spread, and how often it is that of the null store that copies. */
function timeOf(samples: Samples<Sample>, scene: Scene): string {
  const figure = at(1, wallUs);
  const cell: Cell = (contender, mix) => {
    const where = whereOf(scene, mix);
    const ratio = samples.ratio(contender, "null store that copies", where, figure).median;
    return `${shortSpread(samples.spread(contender, where, figure))} ${ratio.toFixed(2)}×`;
  };
  return `${nameOf(scene)}, µs:\n\n${byMix(cell, mixesOf(scene))}`;
}

function inFlightOf(samples: Samples<Sample>): string {
  const of =
    (figure: (cost: Cost) => number): Cell =>
    (contender, mix) =>
      IN_FLIGHT.map((n) =>
        short(samples.spread(contender, whereOf(MAIN.loopback, mix), at(n, figure)).median),
      ).join(" / ");
  const perSecond =
    (scene: Scene): Cell =>
    (contender, mix) => {
      const { median, low, high } = samples.spread(contender, whereOf(scene, mix), at(50, wallUs));
      return shortSpread({ median: 1e6 / median, low: 1e6 / high, high: 1e6 / low });
    };
  return [
    `Redis's CPU, µs per request, ${IN_FLIGHT.join(" / ")} in flight:\n\n${byMix(of(redisCpuUs))}`,
    `The process's CPU, µs per request, likewise:\n\n${byMix(of(cpuUs))}`,
    ...[MAIN.loopback, MAIN["1 ms away"]].map(
      (scene) => `Requests per second, 50 in flight, ${nameOf(scene)}:\n\n${byMix(perSecond(scene))}`,
    ),
  ].join("\n\n");
}

/** A command that is rarer than that is left out. */
const RARE = 0.005;

function commandsOf(samples: Samples<Sample>, scene: Scene): Cell {
  return (contender, mix) => {
    const rate = (command: string) =>
      samples.spread(
        contender,
        whereOf(scene, mix),
        at(1, (cost) => cost.commands[command] ?? 0),
      ).median;
    const names = ["GET", "GETRANGE", "PTTL", "SET", "EXPIRE", "DEL", "MULTI", "PUBLISH", "EXEC", "EVALSHA"];
    const detail = names.filter((command) => rate(command) >= RARE);
    const each = detail.map((command) => `${command} ${rate(command).toFixed(2)}`).join(", ");
    return `${rate("all").toFixed(2)}${each === "" ? "" : `: ${each}`}`;
  };
}

function writesOf(samples: Samples<Sample>): string {
  const rows = IN_FLIGHT.flatMap((n) =>
    REDIS_CONTENDERS.map((name) => {
      const spread = (figure: (cost: Cost) => number) => samples.spread(name, "writes", at(n, figure));
      const ratio = samples.ratio(name, "connect-redis", "writes", at(n, cpuUs)).median;
      return [
        labelOf(name),
        String(n),
        spread(commands).median.toFixed(2),
        `${shortSpread(spread(cpuUs))} ${ratio.toFixed(2)}×`,
        shortSpread(spread(redisCpuUs)),
      ];
    }),
  );
  return table(["store", "in flight", "commands", "the process, µs", "Redis, µs"], rows);
}

function httpOf(samples: Samples<HttpSample>): string {
  const columns: [string, (sample: HttpSample) => number][] = [
    ["p50, ms", ({ p50 }) => p50],
    ["p99, ms", ({ p99 }) => p99],
    ["requests/s", ({ perSecond }) => perSecond],
    ["event loop p99, ms", ({ loopDelayMs }) => loopDelayMs],
    [`CPU at ${HTTP_STEADY_RATE} requests/s, % of a core`, ({ steadyCores }) => 100 * steadyCores],
  ];
  const scenes = [MAIN["1 ms away"], MAIN.loopback].map((scene) => {
    const rows = CONTENDER_NAMES.map((name) => [
      labelOf(name),
      ...columns.map(([, figure]) => shortSpread(samples.spread(name, whereOf(scene, HTTP_MIX), figure))),
    ]);
    return `${nameOf(scene)}:\n\n${table(["store", ...columns.map(([head]) => head)], rows)}`;
  });
  return scenes.join("\n\n");
}

function stallOf(stalled: NonNullable<Results["stalled"]>): string {
  const percentiles = Object.keys(PERCENTILES) as Percentile[];
  const cell = (values: readonly number[]) =>
    `${short(spreadOf(values).median)} (${short(Math.min(...values))}–${short(Math.max(...values))})`;
  return table(
    ["store, ms", ...percentiles],
    READERS.map((name) => [labelOf(name), ...percentiles.map((p) => cell(stalled[name]?.[p] ?? []))]),
  );
}

function silenceOf(silent: NonNullable<Results["silent"]>): string {
  return table(
    ["store", "served the deleted session for, s"],
    READERS.map((name) => [labelOf(name), ((silent[name] ?? Number.NaN) / 1000).toFixed(1)]),
  );
}

function memoryOf(memory: NonNullable<Results["memory"]>): string {
  const rows = CONTENDER_NAMES.map((name) => [labelOf(name), short(memory[name] ?? Number.NaN)]);
  return table(["store", "bytes"], rows);
}
