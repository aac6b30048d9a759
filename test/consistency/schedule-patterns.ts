import type { OperationKind, PlannedOperation } from "./protocol.ts";
import type { Random } from "./random.ts";

/** What a round's patterns are planned with. */
export interface PatternPlan {
  readonly seed: number;
  readonly ms: number;
  /** Operations a second of each node: patterns are as frequent as these. */
  readonly rate: number;
  readonly leaseMs: number;
  /** With `onConflict: "merge"`. */
  readonly merge: boolean;
  /** Whether each connection has a delay of its own. */
  readonly pool: boolean;
  /** With `cluster.tracking`. */
  readonly isTracked: boolean;
  readonly random: Random;
  /** Of each node; the patterns are added. */
  readonly operations: readonly PlannedOperation[][];
  /** Undefined without an index. */
  readonly owners: readonly string[] | undefined;
  /** Whether touches are judged. */
  readonly areTouchesKnown: boolean;
  plan(at: number, kind: OperationKind, sid: string): PlannedOperation;
  sidOf(temperature: "warm" | "short" | "owned"): string;
}

/** How many of each there are for each operation. */
const REGENERATIONS = 0.006;
const FLOODS = 0.000_8;
const IDLE_TOUCHES = 0.015;
const IDLE_READS = 0.06;
const CROSSINGS = 0.015;
const EARLY_ENDS = 0.006;
const SWEEPS = 0.002;
const CONTESTS = 0.002;
const CROWDS = 0.000_8;

/** Sessions that are only touched, to live shorter and longer. */
const IDLE_SESSIONS = 12;
/** Sessions that are touched while they are written. */
const CROSSED_SESSIONS = 8;
const FLOOD_SIZE = 50;
const FLOOD_MS = 150;
/** So many sessions are read in one turn on a subscriber's connection; the client reads the others. */
const CROWD_SIZE = 256;
const CROWDED_OUT = 8;
/** When whoever has held something old since then has held it for longer than a lease. */
const LATER_MS = [200, 950, 1_400];
/** One session lives for 20 or 40 minutes. */
const BOTH_LIVES_MS = 60 * 60_000;

/**
 * Operations that belong together. Most of what they try needs two things to happen within milliseconds, which operations that
 * are independent of each other hardly ever do.
 */
export class Patterns {
  readonly #plan: PatternPlan;
  /** Sessions that are read or written a few times within a second, and never again. */
  readonly oneOff: string[] = [];
  readonly idle: readonly string[];
  readonly crossed: readonly string[];
  /** These are not there. */
  readonly #crowd: readonly string[];

  constructor(plan: PatternPlan) {
    this.#plan = plan;
    this.idle = Array.from({ length: IDLE_SESSIONS }, (_, i) => `${plan.seed}-idle-${i}`);
    this.crossed = Array.from({ length: CROSSED_SESSIONS }, (_, i) => `${plan.seed}-crossed-${i}`);
    this.#crowd = Array.from({ length: plan.isTracked ? CROWD_SIZE : 0 }, () => this.#newSid("crowd"));
  }

  add(): void {
    const { operations, plan, random, sidOf, areTouchesKnown } = this.#plan;
    for (const sid of [...this.idle, ...this.crossed]) {
      operations[0]?.push(plan(random.between(0, 300), "set", sid));
    }
    for (const mine of operations) {
      this.#each(REGENERATIONS, (at) => this.#regeneration(mine, at));
      this.#each(FLOODS, (at) => this.#flood(mine, at));
      if (this.#plan.pool) this.#each(CONTESTS, (at) => this.#contest(mine, at));
      if (this.#plan.isTracked) this.#each(CROWDS, (at) => this.#crowdOut(mine, at));
      if (!areTouchesKnown) continue;
      this.#each(IDLE_READS, (at) => mine.push(plan(at, "get", this.#idleSid())));
      this.#each(IDLE_TOUCHES, (at) => mine.push(plan(at, "touch", this.#idleSid())));
      this.#each(CROSSINGS, (at) => this.#crossing(mine, at));
      this.#each(EARLY_ENDS, (at) => this.#earlyEnd(mine, at));
      this.#each(SWEEPS, (at) => mine.push(plan(at, "sweep", sidOf("warm"))));
    }
  }

  #each(share: number, add: (at: number) => void): void {
    const { rate, random, ms } = this.#plan;
    const mean = 1_000 / (rate * share);
    for (let at = 400 + random.gap(mean); at < ms; at += random.gap(mean)) add(at);
  }

  /** A request gives its session a new id; meanwhile another may end that session. */
  #regeneration(mine: PlannedOperation[], at: number): void {
    const { plan, random, sidOf, owners } = this.#plan;
    const isOwned = owners !== undefined && random.next() < 0.7;
    const sid = sidOf(isOwned ? "owned" : "warm");
    const newSid = this.#newSid(isOwned ? "new-owned" : "new");
    const thinkMs = random.between(20, 300);
    mine.push({ ...plan(at, "regenerate", sid), newSid, thinkMs });
    const meanwhile = at + random.next() * thinkMs;
    const how = random.next();
    if (how < 0.5) this.#anyNode().push(plan(meanwhile, "destroy", sid));
    else if (how < 0.8 && isOwned) {
      const owner = owners[random.between(0, owners.length)] as string;
      mine.push({ ...plan(at - 60, "set", sid), owner });
      this.#anyNode().push({ ...plan(meanwhile, "ban", sid), owner });
    }
    for (let i = 0; i < 2; i++) {
      this.#anyNode().push(plan(at + thinkMs + random.between(0, 1_500), "get", newSid));
    }
  }

  /** One-off sessions: some are written and read elsewhere, some written only, some read only. */
  #flood(mine: PlannedOperation[], at: number): void {
    const { plan, random } = this.#plan;
    for (let i = 0; i < FLOOD_SIZE; i++) {
      const sid = this.#newSid("once");
      const when = at + random.next() * FLOOD_MS;
      const how = random.next();
      if (how < 0.7) mine.push(plan(when, "set", sid));
      if (how < 0.3) this.#anyNode().push(plan(when + random.between(0, 1_000), "get", sid));
      if (how >= 0.7) mine.push(plan(when, "get", sid));
    }
  }

  /** A request touches its session while the same process writes it with another life. */
  #crossing(mine: PlannedOperation[], at: number): void {
    const { plan, random } = this.#plan;
    const cross = plan(at, "cross", this.crossed[random.between(0, CROSSED_SESSIONS)] as string);
    mine.push({ ...cross, otherLifeMs: BOTH_LIVES_MS - cross.lifeMs });
  }

  /** A session ends within a moment, and is read on and on: by a process that has touched it, or by another than has written it. */
  #earlyEnd(mine: PlannedOperation[], at: number): void {
    const { plan, random, sidOf } = this.#plan;
    const sid = sidOf("short");
    const isTouched = random.next() < 0.5;
    const lifeMs = random.between(40, 150);
    if (isTouched) {
      mine.push(plan(at - 60, "set", sid), plan(at - 30, "get", sid));
      mine.push({ ...plan(at, "touch", sid), lifeMs });
    } else mine.push({ ...plan(at, "set", sid), lifeMs });
    const reader = isTouched ? mine : this.#anyNode();
    for (let i = 0; i < 6; i++) reader.push(plan(at + 20 + 40 * i, "get", sid));
  }

  /**
   * A session that the client reads is read and written by one process, and written by others, within one round trip; then
   * that process reads it on and on. Replies and messages may arrive in any order.
   */
  #contest(mine: PlannedOperation[], at: number): void {
    const { plan, random } = this.#plan;
    const sid = this.#newSid("long");
    const [first, ...others] = this.#plan.operations.filter((each) => each !== mine);
    const writtenAt = at + random.between(5, 50);
    mine.push(plan(at - 200, "set", sid), plan(at, "get", sid), plan(writtenAt, "set", sid));
    first?.push(plan(at - 80, "set", sid));
    for (const other of others) other.push(plan(writtenAt + random.between(-10, 25), "set", sid));
    for (let i = 0; i < 8; i++) mine.push(plan(at + 40 + 8 * i, "get", sid));
  }

  /** A process reads so many sessions in one turn that the client reads some of them; then another program writes these. */
  #crowdOut(mine: PlannedOperation[], at: number): void {
    const { plan } = this.#plan;
    const other = this.#anyNode();
    const crowded = Array.from({ length: CROWDED_OUT }, () => this.#newSid("crowd"));
    for (const sid of crowded) other.push(plan(at - 100, "set", sid));
    for (const sid of [...this.#crowd, ...crowded]) mine.push(plan(at, "get", sid));
    for (const sid of crowded) {
      other.push(plan(at + 100, "outside", sid));
      for (const later of LATER_MS) mine.push(plan(at + later, "get", sid));
    }
  }

  #anyNode(): PlannedOperation[] {
    const { operations, random } = this.#plan;
    return operations[random.between(0, operations.length)] as PlannedOperation[];
  }

  #idleSid(): string {
    return this.idle[this.#plan.random.between(0, IDLE_SESSIONS)] as string;
  }

  #newSid(kind: "once" | "crowd" | "long" | "new" | "new-owned"): string {
    const sid = `${this.#plan.seed}-${kind}-${this.oneOff.length}`;
    this.oneOff.push(sid);
    return sid;
  }
}
