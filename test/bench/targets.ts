import type { Distance, Mix, Scene } from "./plan.ts";
import { isMain } from "./plan.ts";
import { type Sample, type Samples, whereOf } from "./samples.ts";
import { earlierResults } from "./support/results.ts";
import { type Spread, short, spreadOf } from "./support/statistics.ts";
import { table } from "./support/table.ts";

export interface RoundTrips {
  readonly set: number;
  readonly ping: number;
}

interface Target {
  readonly what: string;
  readonly measured: Spread | undefined;
  readonly limit: number;
  readonly unit?: string;
}

/** Measured by `bench:micro` and `bench:fan-out`, which write their results for us. */
interface Elsewhere {
  readonly spreads: Readonly<Record<string, Spread>>;
}

export function targetsOf(
  samples: Samples<Sample>,
  scenes: readonly Scene[],
  roundTrips: readonly RoundTrips[],
): readonly Target[] {
  const where = (distance: Distance, mix: Mix) =>
    whereOf(scenes.find((scene) => isMain(scene) && scene.distance === distance) as Scene, mix);
  const wallUs = (sample: Sample) => sample.wallUs;
  const parts: Readonly<Record<string, Spread>> = {
    ...earlierResults<Elsewhere>("micro")?.spreads,
    ...earlierResults<Elsewhere>("fan-out")?.spreads,
  };
  return [
    {
      what: "Redis commands per read-only request, warm",
      measured: samples.spread(
        "ours",
        where("loopback", "read-only"),
        ({ commands }) => commands["all"] ?? 0,
      ),
      limit: 0.01,
    },
    {
      what: "in-process read, loopback, against the null store",
      measured: samples.ratio("ours", "null store", where("loopback", "read-only"), wallUs),
      limit: 1.1,
      unit: "×",
    },
    {
      what: "in-process read, Redis 1 ms away, against the null store",
      measured: samples.ratio("ours", "null store", where("1 ms away", "read-only"), wallUs),
      limit: 1.1,
      unit: "×",
    },
    {
      what: "of that the private copy alone, against the null store",
      measured: samples.ratio(
        "null store that copies",
        "null store",
        where("1 ms away", "read-only"),
        wallUs,
      ),
      limit: 1.1,
      unit: "×",
    },
    {
      what: "in-process 50/50, Redis 1 ms away, against connect-redis",
      measured: samples.ratio("ours", "connect-redis", where("1 ms away", "50/50"), wallUs),
      limit: 0.3,
      unit: "×",
    },
    {
      what: "a write against a PING, Redis 1 ms away: one round trip",
      measured: spreadOf(roundTrips.map(({ set, ping }) => set / ping)),
      limit: 1.5,
      unit: "×",
    },
    { what: "get on a hit, 1 KB", measured: inUs(parts["hit/1000/get"]), limit: 2, unit: " µs" },
    { what: "get on a hit, 10 KB", measured: inUs(parts["hit/10000/get"]), limit: 30, unit: " µs" },
    ...[10_000, 100_000].flatMap((entries) =>
      ["hit", "miss", "evict", "overwrite", "zipf", "bytes"].map((column) => ({
        what: `LocalCache against lru-cache with ttl, ${entries / 1000}k entries: ${column}`,
        measured: over(
          parts[`cache/${entries}/${column}/ours`],
          parts[`cache/${entries}/${column}/lru-cache`],
        ),
        limit: 1,
        unit: "×",
      })),
    ),
    { what: "invalidation heard elsewhere, p99", measured: parts["latency/p99"], limit: 2, unit: " ms" },
  ];
}

export function reportTargets(targets: readonly Target[]): string {
  const rows = targets.map(({ what, measured, limit, unit = "" }) => {
    if (measured === undefined) return [what, `≤ ${limit}${unit}`, "not measured yet", "–"];
    const { median, low, high } = measured;
    const range = low === high ? "" : ` (${short(low)}–${short(high)})`;
    const verdict = median <= limit ? "met" : "NOT MET";
    return [what, `≤ ${limit}${unit}`, `${short(median)}${unit}${range}`, verdict];
  });
  return `\n### Targets\n\n${table(["what", "target", "measured", ""], rows)}`;
}

function inUs(spread: Spread | undefined): Spread | undefined {
  return spread && { median: spread.median / 1000, low: spread.low / 1000, high: spread.high / 1000 };
}

/** The two were measured in turns, but not in pairs: only their medians can be compared. */
function over(mine: Spread | undefined, theirs: Spread | undefined): Spread | undefined {
  return mine && theirs && spreadOf([mine.median / theirs.median]);
}
