import { isImpatient, isIndexed, type Options, usesPool } from "./options.ts";
import { LEASE } from "./protocol.ts";
import { Random, Turns } from "./random.ts";

/** Faults of one node's connections or process. They follow one another on each node, and overlap with those of others. */
const NODE_FAULTS = {
  killSubscriber: 3,
  killData: 3,
  muteMessages: 3,
  muteSubscriber: 2,
  muteData: 2,
  delayReplies: 6,
  delayMessages: 3,
  slowSubscriber: 4,
  holdRequests: 3,
  holdReplies: 3,
  holdMessages: 3,
  cutData: 8,
  cutMessage: 2,
  partition: 4,
  stopNode: 2,
  killNode: 1,
  stepClock: 5,
  lateReplies: 8,
  lateAnswers: 8,
  lateMessages: 8,
  lateRequests: 8,
  lostReplies: 8,
  cutWrites: 10,
} as const;

/** Of a pool: its connections overtake one another. */
const POOL_FAULTS = { crossedReplies: 12 } as const;
/** Of a node with a single connection. */
const PLAIN_FAULTS = { skippedReplies: 6 } as const;
/** Of a node that waits for Redis for longer than a lease. */
const PATIENT_FAULTS = { lateTouches: 12 } as const;
/** With `--stale`, of one that does not: Redis counts as away while its stale sessions last. */
const STALE_FAULTS = { longPartition: 24 } as const;
/** Some end before a lease lapses: what is read meanwhile, and after it, may come from memory. From and to, in milliseconds. */
const BRIEF: Partial<Record<string, readonly [number, number]>> = {
  lateReplies: [80, 140],
  lateAnswers: [100, 140],
  lateMessages: [160, 420],
  lateRequests: [180, 340],
  lostReplies: [120, 240],
  cutWrites: [240, 300],
  smallTable: [300, 600],
  longPartition: [2_200, 2_400],
  crossedReplies: [300, 301],
  lateTouches: [300, 301],
  skippedReplies: [1_000, 1_001],
};

/** A node that waits for longer gives what is aimed at it so many times as long, so that it succeeds on a busy machine, too. */
const PATIENT_TIMES: Partial<Record<string, number>> = { crossedReplies: 2, lateAnswers: 1.6 };

/** When what a fault consists of happens, in milliseconds since it began. Operations are aimed at these. */
export const STEPS = {
  /** In parts of the fault's time. It is made twice, each time for half of it: without late replies to writes, and with them. */
  crossedReplies: { holdMessages: 0.1, releaseReads: 0.25, releaseWrites: 0.3, end: 0.5 },
  lateTouches: { execute: 130, end: 300 },
} as const;

/** So many connections `cutWrites` ends, one after the other. */
export const CUTS = 2;

/** Faults of Redis, or of its contents. One at a time. */
const REDIS_FAULTS = {
  stopRedis: 3,
  pauseClients: 2,
  pauseWrites: 10,
  restartRedis: 2,
  flushDb: 1,
  evictKeys: 2,
  garbage: 3,
  becomeReplica: 4,
} as const;

/** With an index, saves and deletions also fail because Redis refuses them; and others write sessions whose owner nobody knows. */
const INDEXED_FAULTS = { ...REDIS_FAULTS, refuseWrites: 6, loseOwners: 6 } as const;

/** With tracking, what happens behind the stores' backs is not excused. */
const TRACKED_FAULTS = { ...REDIS_FAULTS, flushDb: 4, evictKeys: 12, smallTable: 8 } as const;

/** Writes of other programs, between all faults. */
const OUTSIDE = { writeKeys: 1 } as const;

const SOME_NODES_FAULTS = {
  ...{ ...POOL_FAULTS, ...PLAIN_FAULTS, ...PATIENT_FAULTS },
  ...STALE_FAULTS,
} as const;

export type NodeFault = keyof typeof NODE_FAULTS | keyof typeof SOME_NODES_FAULTS;
export type RedisFault = keyof typeof INDEXED_FAULTS | keyof typeof TRACKED_FAULTS | keyof typeof OUTSIDE;

/** Faults of a primary and its replica, or of a Cluster. One at a time, with the recovery. */
export type ServerFault =
  | "pauseClients"
  | "pauseWrites"
  | "killPrimary"
  | "stopPrimary"
  | "failover"
  | "moveSlots"
  | "moveIndex"
  | "returnSlot";

/** What may happen, how often compared to the others. */
export interface FaultKinds {
  readonly node: Partial<Record<NodeFault, number>>;
  readonly redis: Partial<Record<RedisFault | ServerFault, number>>;
  /** How long one takes until all is well again, besides the time that it is given. Otherwise the next one is late. */
  readonly recoveryMs: Partial<Record<NodeFault | RedisFault | ServerFault, number>>;
}

const RECOVERY_MS = {
  partition: 400,
  longPartition: 400,
  killNode: 1_000,
  skippedReplies: 1_500,
  restartRedis: 500,
  becomeReplica: 1_500,
} as const;

const SINGLE: FaultKinds = { node: NODE_FAULTS, redis: REDIS_FAULTS, recoveryMs: RECOVERY_MS };
const INDEXED: FaultKinds = { ...SINGLE, redis: INDEXED_FAULTS };
const TRACKED: FaultKinds = { ...SINGLE, redis: TRACKED_FAULTS };

function kindsFor(options: Options, seed: number): FaultKinds {
  if (options.tracking) return TRACKED;
  return isIndexed(options, seed) ? INDEXED : SINGLE;
}

/** Those of one node with one Redis: they depend on how it waits, and on its client. */
function faultsOf(options: Options, node: number): FaultKinds["node"] {
  const isPatient = !isImpatient(options, node);
  return {
    ...NODE_FAULTS,
    ...(usesPool(options, node) ? POOL_FAULTS : PLAIN_FAULTS),
    ...(isPatient && PATIENT_FAULTS),
    ...(options.stale && !isPatient && STALE_FAULTS),
  };
}

/** What `moveSlots` takes besides its time. */
export const MOVING_MS = 13_000;
/** The same of `returnSlot`. */
export const RETURNING_MS = 4_500;
const OUTSIDE_MS = 60;
/** Before a fault, the operations that are aimed at it begin. */
export const BEFORE_MS = 200;
/** So long before a fault `becomeReplica` nothing else happens to Redis: all are live again. */
const CALM_MS = 800;
/** From the end of a node's fault to the next, on average. */
const NODE_MS = 1_100;

type Kind = NodeFault | RedisFault | ServerFault;

export interface PlannedFault {
  /** Milliseconds since the beginning of the round. */
  readonly at: number;
  readonly ms: number;
  readonly kind: Kind;
  /** Undefined for Redis's. */
  readonly node: number | undefined;
  /** From 0 to 1: what else there is to choose. */
  readonly chance: number;
}

/** From when to when, in milliseconds since the beginning of the round. */
type Span = readonly [from: number, to: number];

/** When nobody writes: during a part of the faults `becomeReplica`, so that only a heartbeat can tell. */
export function quietSpan({ kind, at, ms, chance }: PlannedFault): Span | undefined {
  if (kind !== "becomeReplica" || chance >= 0.7) return undefined;
  return [at - 20, at + ms + RECOVERY_MS.becomeReplica + LEASE.single.leaseMs];
}

/**
 * When no node has a fault of its own, which would empty its cache: from before such a fault until a lease has passed, and while the
 * second slot moves.
 */
function calmSpan(fault: PlannedFault): Span | undefined {
  const { kind, at, ms } = fault;
  if (kind === "moveSlots") return [at + MOVING_MS / 2, at + ms + MOVING_MS];
  return quietSpan(fault) && [at - CALM_MS, at + LEASE.single.leaseMs + CALM_MS];
}

/** Faults of one node with operations aimed at them that need Redis from shortly before until shortly after they have begun. */
const AIMED: readonly Kind[] = ["cutWrites", "crossedReplies", "lateTouches", "lostReplies", "longPartition"];
const AIMED_MS = 300;
/** Redis executes what is aimed at other faults all the same, and no node's cache is emptied. */
const HARMLESS: readonly Kind[] = ["evictKeys", "garbage", "smallTable"];

/** When no fault of `AIMED` begins. */
function busySpan(fault: PlannedFault): Span | undefined {
  const { kind, at, ms } = fault;
  if (HARMLESS.includes(kind)) return undefined;
  return [at - AIMED_MS, (quietSpan(fault)?.[1] ?? at + ms) + BEFORE_MS];
}

/** The round's first fifth and last tenth are calm. One list for each node, and one for Redis. */
export function planFaults(
  options: Options,
  seed: number,
  ms: number,
  { node: ofNodes, redis: ofRedis, recoveryMs }: FaultKinds = kindsFor(options, seed),
): readonly (readonly PlannedFault[])[] {
  if (!options.faults) return [];
  const random = new Random(seed ^ 0x5eed);
  const turns = new Turns(random);
  const from = ms * 0.2;
  const to = ms * 0.9;
  const lane = (
    node: number | undefined,
    mean: number,
    kinds: Partial<Record<Kind, number>>,
    calm: readonly Span[] = [],
    busy: readonly Span[] = [],
    lasts: (random: Random, kind: Kind) => number = durationOf,
  ) => {
    const faults: PlannedFault[] = [];
    let at = from + random.gap(mean);
    while (at < to) {
      const isBusy = busy.some(([begin, end]) => at > begin && at < end);
      const kind = turns.next(kinds as Record<Kind, number>, (one) => !isBusy || !AIMED.includes(one));
      const lastsMs = lasts(random, kind);
      const wholeMs = lastsMs + (recoveryMs[kind] ?? 0);
      if (kind === "becomeReplica") at += CALM_MS;
      for (const [begin, end] of calm) if (at < end && at + wholeMs > begin) at = end;
      faults.push({ at, kind, node, ms: lastsMs, chance: random.next() });
      at += wholeMs + random.gap(mean);
    }
    return faults;
  };
  const redis = lane(undefined, 1_000, ofRedis);
  const calm = redis.map(calmSpan).filter((span) => span !== undefined);
  const busy = redis.map(busySpan).filter((span) => span !== undefined);
  const lanes = Array.from({ length: options.nodes }, (_, node) =>
    lane(
      node,
      NODE_MS,
      ofNodes === NODE_FAULTS ? faultsOf(options, node) : ofNodes,
      calm,
      busy,
      (random, kind) =>
        (isImpatient(options, node) ? 1 : (PATIENT_TIMES[kind] ?? 1)) * durationOf(random, kind),
    ),
  );
  const outside = options.tracking ? [lane(undefined, OUTSIDE_MS, OUTSIDE, [], [], () => 0)] : [];
  return [...lanes, redis, ...outside];
}

/** Mostly within a lease or a little more, now and then far beyond it. */
function durationOf(random: Random, kind: Kind): number {
  const brief = BRIEF[kind];
  if (brief !== undefined) return random.between(...brief);
  return random.next() < 0.2 ? random.between(1_000, 2_500) : random.between(50, 900);
}
