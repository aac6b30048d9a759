import type { PlannedFault } from "./fault-schedule.ts";
import { isIndexed, type Options } from "./options.ts";
import { type Again, LEASE, type OperationKind, type PlannedOperation, UNKNOWN_OWNER } from "./protocol.ts";
import { Random } from "./random.ts";
import { Patterns } from "./schedule-patterns.ts";
import { Scenes } from "./schedule-scenes.ts";

/** What is done in one round, known before it begins: for each node, in the order of time. */
export interface Schedule {
  readonly operations: readonly (readonly PlannedOperation[])[];
  /** Sessions that are used all the time. */
  readonly sids: readonly string[];
  /** Sessions that are used within a second or two, and never again. */
  readonly oneOff: readonly string[];
  /** Empty without an index. */
  readonly owners: readonly string[];
}

/** How many sessions of each kind there are. Those that are short live for about a second; owned ones have an owner. */
const SESSIONS = { hot: 6, warm: 40, cold: 60, short: 12, copy: 8, long: 3, owned: 24 } as const;
const TRAFFIC = { hot: 35, warm: 35, cold: 20, short: 14, copy: 6, long: 3, owned: 0 } as const;
const INDEXED_TRAFFIC = { ...TRAFFIC, owned: 50 } as const;
/** So many users have sessions, in a round with an index. */
export const OWNERS = 6;

export const ownerOf = (i: number, seed: number): string => `${seed}-owner-${i}`;

type Temperature = keyof typeof SESSIONS;
type Mix = Readonly<Partial<Record<OperationKind, number>>>;

const READ_MOSTLY: Mix = { get: 74, set: 8, touch: 4, destroy: 2, save: 6, twice: 6 };
const MIX: Record<Temperature, Mix> = {
  hot: READ_MOSTLY,
  warm: READ_MOSTLY,
  // Written so seldom that whoever holds something old goes on to show it.
  cold: { get: 91, set: 3, touch: 2, destroy: 1, save: 3 },
  // Not saved: whether it still existed would not be certain.
  short: { get: 78, set: 13, touch: 9 },
  // Often not there when another session is saved under its id.
  copy: { get: 45, copy: 30, destroy: 25 },
  // Too long for the subscriber's connection: the client reads them.
  long: { get: 84, set: 8, save: 6, destroy: 2 },
  owned: { get: 42, set: 14, touch: 10, destroy: 3, save: 16, twice: 4, invalid: 3, list: 10, ban: 1 },
};
/** With several servers only the last write tells when a session ends: touches are not recorded. */
const UNTOUCHED: Mix = { get: 85, set: 15 };
const MERGING: Mix = { get: 58, set: 2, touch: 3, destroy: 1, save: 30, twice: 6 };
const MERGED: readonly Temperature[] = ["hot", "warm", "cold"];

/** These keep the owner more often than not. */
const KEEPING: readonly OperationKind[] = ["save", "touch", "regenerate"];

const CLEARS = 0.0003;
/**
 * Bursts: writes of different sessions that begin in one turn, so that the store may send them together; those of loaded
 * sessions after the same time. How many there are for each operation.
 */
const BURSTS = 0.01;
const BURST_SIZE = 6;
const BURST_TRAFFIC = { hot: 50, warm: 40, short: 10 } as const;
const MINUTE_MS = 60_000;

export const isShort = (sid: string): boolean => sid.includes("short");

/**
 * @param firstVersion versions of the run's rounds must not repeat
 * @param faults some operations are aimed at them
 */
export function planRound(
  options: Options,
  seed: number,
  ms: number,
  firstVersion: number,
  faults: readonly PlannedFault[],
): Schedule {
  const random = new Random(seed);
  const hasOwners = isIndexed(options, seed);
  let version = firstVersion;
  // In a Cluster, those that would show for longest what a node has missed are in one slot, and move together.
  const nameOf = (temperature: Temperature) =>
    options.topology === "cluster" && temperature === "cold" ? "{cold}" : temperature;
  const sidOf = (temperature: Temperature) =>
    `${seed}-${nameOf(temperature)}-${random.between(0, SESSIONS[temperature])}`;
  const temperatures = (Object.keys(SESSIONS) as Temperature[]).filter(
    (temperature) => temperature !== "owned" || hasOwners,
  );
  const sids = temperatures.flatMap((temperature) =>
    Array.from({ length: SESSIONS[temperature] }, (_, i) => `${seed}-${nameOf(temperature)}-${i}`),
  );
  const owners = hasOwners ? Array.from({ length: OWNERS }, (_, i) => ownerOf(i, seed)) : [];
  const mixes = options.topology === "single" ? MIX : { ...MIX, short: UNTOUCHED };
  const operations = Array.from({ length: options.nodes }, () => [] as PlannedOperation[]);

  const againOf = (): Again => {
    const isRevert = random.next() < 0.7;
    // A merge may combine a version that is not new with the cookie of another writer: nobody could tell whose it is.
    const isExact = isRevert && !options.merge;
    return { isRevert, version: isExact ? undefined : ++version, isAwaited: random.next() < 0.3 };
  };
  const plan = (at: number, kind: OperationKind, sid: string): PlannedOperation => ({
    at,
    kind,
    sid: kind === "clear" || kind === "list" || kind === "ban" ? "" : sid,
    version: ++version,
    lifeMs: lifeOf(sid, kind, random),
    thinkMs: random.gap(random.next() < 0.2 ? 600 : 60),
    ...(kind === "twice" && { again: againOf() }),
    ...(kind === "copy" && { source: sidOf("warm") }),
    ...(sid.includes("owned") && {
      ...((!KEEPING.includes(kind) || random.next() < 0.3) && {
        owner: kind === "invalid" ? UNKNOWN_OWNER : (owners[random.between(0, OWNERS)] as string),
      }),
    }),
  });

  for (const sid of sids) {
    operations[random.between(0, options.nodes)]?.push(plan(random.between(0, 300), "set", sid));
  }
  for (const mine of operations) {
    const mean = 1_000 / options.rate;
    for (let at = 300 + random.gap(mean); at < ms; at += random.gap(mean)) {
      const temperature = random.pick(hasOwners ? INDEXED_TRAFFIC : TRAFFIC);
      const mix = options.merge && MERGED.includes(temperature) ? MERGING : mixes[temperature];
      const kind = random.next() < CLEARS ? "clear" : random.pick(mix as Record<OperationKind, number>);
      mine.push(plan(at, kind, sidOf(temperature)));
    }
  }
  // Last, so that whatever else a seed plans is the same without them.
  for (const mine of operations) {
    const mean = 1_000 / (options.rate * BURSTS);
    for (let at = 300 + random.gap(mean); at < ms; at += random.gap(mean)) {
      const thinkMs = random.gap(60);
      const chosen = new Set(Array.from({ length: BURST_SIZE }, () => sidOf(random.pick(BURST_TRAFFIC))));
      for (const sid of chosen) {
        const kind = isShort(sid) || random.next() < 0.5 ? "set" : "save";
        mine.push({ ...plan(at, kind, sid), thinkMs });
      }
    }
  }
  const patternPlan = {
    ...{ seed, ms, random, operations, plan, sidOf },
    ...{ rate: options.rate, merge: options.merge, pool: options.pool, isTracked: options.tracking },
    owners: hasOwners ? owners : undefined,
    areTouchesKnown: options.topology === "single",
    leaseMs: LEASE[options.topology].leaseMs,
  };
  const patterns = new Patterns(patternPlan);
  patterns.add();
  const scenes = new Scenes(patternPlan, faults);
  scenes.add();
  for (const mine of operations) mine.sort((a, b) => a.at - b.at);
  return {
    operations,
    sids: [...sids, ...patterns.idle, ...patterns.crossed],
    oneOff: [...patterns.oneOff, ...scenes.sids],
    owners,
  };
}

/** Two lives are common: a touch to the life that a node believes in is one that it may skip. */
function lifeOf(sid: string, kind: OperationKind, random: Random): number {
  // A touch mostly ends a short one earlier, often before its reply can arrive.
  if (isShort(sid)) return kind === "touch" ? random.between(40, 700) : random.between(400, 2_000);
  return (random.next() < 0.5 ? 20 : 40) * MINUTE_MS;
}
