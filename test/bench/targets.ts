import type { ContenderName } from "./contender/names.ts";
import { type Distance, IN_FLIGHT, MAIN, type Mix } from "./plan.ts";
import type { Results } from "./results.ts";
import { commands, cpuUs, Samples, wallUs, whereOf } from "./samples.ts";
import { earlierResults } from "./support/results.ts";
import { type Spread, short, spreadOf } from "./support/statistics.ts";
import { table } from "./support/table.ts";

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

/** How long a request takes, against another store's. */
const RATIOS: readonly (readonly [Distance, Mix, ContenderName, number])[] = [
  ["loopback", "read-only", "null store that copies", 1.05],
  ["loopback", "read-only", "connect-redis", 0.6],
  ["loopback", "50/50", "connect-redis", 0.8],
  ["loopback", "write-only", "connect-redis", 1],
  ["1 ms away", "50/50", "connect-redis", 0.3],
];

const COLUMNS = ["hit", "miss", "evict", "overwrite", "zipf", "bytes"];

function targetsOf(results: Results): readonly Target[] {
  const requests = new Samples(results.requests);
  const writes = new Samples(results.writes);
  const parts: Readonly<Record<string, Spread>> = {
    ...earlierResults<Elsewhere>("micro")?.spreads,
    ...earlierResults<Elsewhere>("fan-out")?.spreads,
  };
  const { roundTrips, memory, stalled, silent } = results;
  return [
    {
      what: "Redis commands per read-only request, warm",
      measured: requests.spread("ours", whereOf(MAIN.loopback, "read-only"), (sample) => commands(sample[1])),
      limit: 0.01,
    },
    ...RATIOS.map(([distance, mix, other, limit]) => ({
      what: `a request, ${mix}, Redis ${distance === "loopback" ? "on loopback" : distance}, against ${other}`,
      measured: requests.ratio("ours", other, whereOf(MAIN[distance], mix), (sample) => wallUs(sample[1])),
      limit,
      unit: " ×",
    })),
    ...IN_FLIGHT.slice(-1).map((n) => ({
      what: `Redis commands per write, ${n} in flight`,
      measured: writes.spread("ours", "writes", (sample) => commands(sample[n])),
      limit: 2.1,
    })),
    ...IN_FLIGHT.slice(-1).map((n) => ({
      what: `the process's CPU per write, ${n} in flight, against connect-redis's SET`,
      measured: writes.ratio("ours", "connect-redis", "writes", (sample) => cpuUs(sample[n])),
      limit: 1,
      unit: " ×",
    })),
    {
      what: "a write against a PING, Redis 1 ms away: one round trip",
      measured: spreadOf(roundTrips["1 ms away"].map(({ set, ping }) => set / ping)),
      limit: 1.5,
      unit: " ×",
    },
    {
      what: "p99 of reads while Redis stands still for 300 ms of each second",
      measured: stalled?.ours && spreadOf(stalled.ours.p99),
      limit: 10,
      unit: " ms",
    },
    {
      what: "a deleted session is served, connections silent",
      measured: silent?.ours === undefined ? undefined : spreadOf([silent.ours / 1000]),
      limit: 3.1,
      unit: " s",
    },
    {
      what: "memory of the process per cached session of 1 KB",
      measured: memory?.ours === undefined ? undefined : spreadOf([memory.ours]),
      limit: 1_900,
      unit: " bytes",
    },
    { what: "get on a hit, 1 KB", measured: inUs(parts["hit/1000/get"]), limit: 2, unit: " µs" },
    { what: "get on a hit, 10 KB", measured: inUs(parts["hit/10000/get"]), limit: 17, unit: " µs" },
    ...[10_000, 100_000].flatMap((entries) =>
      COLUMNS.map((column) => ({
        what: `LocalCache against lru-cache with ttl, ${entries / 1000}k entries: ${column}`,
        measured: over(
          parts[`cache/${entries}/${column}/ours`],
          parts[`cache/${entries}/${column}/lru-cache`],
        ),
        limit: 1,
        unit: " ×",
      })),
    ),
    { what: "invalidation received elsewhere, p99", measured: parts["latency/p99"], limit: 2, unit: " ms" },
  ];
}

export function reportTargets(results: Results): string {
  const rows = targetsOf(results).map(({ what, measured, limit, unit = "" }) => {
    if (measured === undefined) return [what, `≤ ${limit}${unit}`, "not measured yet", "–"];
    const { median, low, high } = measured;
    const range = low === high ? "" : ` (${short(low)}–${short(high)})`;
    const verdict = median <= limit ? "met" : "NOT MET";
    return [what, `≤ ${limit.toLocaleString("en-US")}${unit}`, `${short(median)}${unit}${range}`, verdict];
  });
  return table(["what", "target", "measured", ""], rows);
}

function inUs(spread: Spread | undefined): Spread | undefined {
  return spread && { median: spread.median / 1000, low: spread.low / 1000, high: spread.high / 1000 };
}

/** The two were measured in turns, but not in pairs: only their medians can be compared. */
function over(mine: Spread | undefined, theirs: Spread | undefined): Spread | undefined {
  return mine && theirs && spreadOf([mine.median / theirs.median]);
}
