import type { Options } from "./options.ts";
import type { OperationKind, PlannedOperation } from "./protocol.ts";
import { Random } from "./random.ts";

/** What is done in one round, known before it begins: for each node, in the order of time. */
export interface Schedule {
  readonly operations: readonly (readonly PlannedOperation[])[];
  readonly sids: readonly string[];
}

/** How many sessions of each kind there are. Those that are short live for about a second. */
const SESSIONS = { hot: 6, warm: 40, cold: 60, short: 12 } as const;
const TRAFFIC = { hot: 35, warm: 35, cold: 20, short: 10 } as const;

type Temperature = keyof typeof SESSIONS;

const READ_MOSTLY = { get: 78, set: 8, touch: 4, destroy: 2, save: 8 } as const;
const MIX: Record<Temperature, Readonly<Record<Exclude<OperationKind, "clear">, number>>> = {
  hot: READ_MOSTLY,
  warm: READ_MOSTLY,
  // Written so seldom that whoever holds something old goes on to show it.
  cold: { get: 91, set: 3, touch: 2, destroy: 1, save: 3 },
  // Neither touched nor saved: when such a one ends is then known from its last write alone.
  short: { get: 85, set: 15, touch: 0, destroy: 0, save: 0 },
};
const MERGING = { get: 62, set: 2, touch: 3, destroy: 1, save: 32 } as const;

const CLEARS = 0.0003;
const MINUTE_MS = 60_000;

export const isShort = (sid: string): boolean => sid.includes("short");

/** @param firstVersion versions of the run's rounds must not repeat */
export function planRound(options: Options, seed: number, ms: number, firstVersion: number): Schedule {
  const random = new Random(seed);
  let version = firstVersion;
  const sidOf = (temperature: Temperature) =>
    `${seed}-${temperature}-${random.between(0, SESSIONS[temperature])}`;
  const sids = Object.entries(SESSIONS).flatMap(([temperature, count]) =>
    Array.from({ length: count }, (_, i) => `${seed}-${temperature}-${i}`),
  );
  const operations = Array.from({ length: options.nodes }, () => [] as PlannedOperation[]);

  for (const sid of sids) {
    const node = random.between(0, options.nodes);
    operations[node]?.push({
      at: random.between(0, 300),
      kind: "set",
      sid,
      version: ++version,
      lifeMs: lifeOf(sid, random),
      thinkMs: 0,
    });
  }
  for (const mine of operations) {
    const mean = 1_000 / options.rate;
    for (let at = 300 + random.gap(mean); at < ms; at += random.gap(mean)) {
      const temperature = random.pick(TRAFFIC);
      const isClear = random.next() < CLEARS;
      const sid = sidOf(temperature);
      const mix = options.merge && temperature !== "short" ? MERGING : MIX[temperature];
      mine.push({
        at,
        kind: isClear ? "clear" : random.pick(mix),
        sid: isClear ? "" : sid,
        version: ++version,
        lifeMs: lifeOf(sid, random),
        thinkMs: random.gap(random.next() < 0.2 ? 600 : 60),
      });
    }
    mine.sort((a, b) => a.at - b.at);
  }
  return { operations, sids };
}

function lifeOf(sid: string, random: Random): number {
  return isShort(sid) ? random.between(400, 2_000) : random.between(20 * MINUTE_MS, 60 * MINUTE_MS);
}
