import {
  BEFORE_MS,
  CUTS,
  MOVING_MS,
  type PlannedFault,
  quietSpan,
  RETURNING_MS,
  STEPS,
} from "./fault-schedule.ts";
import { hasSmallCache } from "./options.ts";
import type { PlannedOperation } from "./protocol.ts";
import type { PatternPlan } from "./schedule-patterns.ts";

/** So many sessions each fault has, at 200 operations a second. */
const SCENES = 8;
const LONG_MS = 1_200_000;
/** So many leases after it, they are read for the last time. */
const LATER = 2.6;

type Scene = (sid: string, fault: PlannedFault, node: number) => void;

/**
 * Operations that are aimed at a fault: on sessions of their own, which the node has in memory when its fault begins, and which
 * nobody writes afterwards, so that whoever holds something old goes on to show it.
 */
export class Scenes {
  readonly #plan: PatternPlan;
  readonly #faults: readonly PlannedFault[];
  readonly sids: string[] = [];

  constructor(plan: PatternPlan, faults: readonly PlannedFault[]) {
    this.#plan = plan;
    this.#faults = faults;
  }

  add(): void {
    const { rate, areTouchesKnown } = this.#plan;
    const count = Math.ceil((SCENES * rate) / 200);
    this.#addAll(areTouchesKnown ? this.#scenes : this.#serverScenes, count);
    // Last, so that whatever else a seed plans is the same without them.
    if (areTouchesKnown) this.#addAll(this.#laterScenes, count);
    for (const fault of this.#faults) this.#onlyRead(fault);
    this.#keepSessions();
  }

  #addAll(scenesOf: Partial<Record<PlannedFault["kind"], readonly Scene[]>>, count: number): void {
    const { leaseMs } = this.#plan;
    for (const fault of this.#faults) {
      const scenes = scenesOf[fault.kind] ?? [];
      for (let i = 0; i < count; i++) {
        for (const scene of scenes) {
          const sid = `${this.#plan.seed}-scene${this.#lengthOf(scene)}-${this.sids.length}`;
          this.sids.push(sid);
          scene(
            sid,
            fault,
            fault.node ?? this.#other(undefined, fault, fault.at + fault.ms + LATER * leaseMs),
          );
        }
      }
    }
  }

  /**
   * Nobody deletes all sessions while slots move, nor does a node that serves stale ones (a sweep drops all of them): then no node would
   * have any in memory.
   */
  #keepSessions(): void {
    const after = { moveSlots: MOVING_MS, returnSlot: RETURNING_MS, longPartition: BEFORE_MS };
    for (const { kind, at, ms, node } of this.#faults) {
      if (!(kind in after)) continue;
      const [from, to] = [at - BEFORE_MS, at + ms + after[kind as keyof typeof after]];
      const isKept = ({ at, kind }: PlannedOperation) =>
        (kind !== "clear" && kind !== "sweep") || at < from || at > to;
      for (const [i, mine] of this.#plan.operations.entries())
        if (node === undefined || node === i) mine.splice(0, mine.length, ...mine.filter(isKept));
    }
  }

  /** The end of a key comes while the reply to a read is late, or while the wall clock is set back. */
  readonly #end: Scene = (sid, fault, node) => {
    const { at, ms, kind, chance } = fault;
    // The clock goes back at the end of its step ahead, or at the beginning of its step behind.
    const when = kind === "stepClock" && chance < 0.5 ? at + ms : at;
    const isClock = kind === "stepClock";
    const endsAt = when + this.#between(50, 80);
    const setAt = when - (isClock ? 200 : 60);
    this.#add(this.#other(node, fault), setAt, "set", sid, { lifeMs: Math.round(endsAt - setAt) });
    this.#add(node, when + (isClock ? -120 : this.#between(3, 20)), "get", sid);
    for (let i = 1; i < 9; i++) this.#add(node, endsAt + 12 * i, "get", sid);
    if (isClock) for (let i = 1; i < 4; i++) this.#add(node, endsAt + 100 * i, "get", sid);
  };

  /** A touch ends a session while its reply is late; the session is in memory, or has been read just before. */
  readonly #endByTouch: Scene = (sid, fault, node) => {
    const { at } = fault;
    const isCached = this.#isLikely(0.5);
    this.#add(this.#other(node, fault), at - 120, "set", sid, { lifeMs: LONG_MS });
    this.#add(node, isCached ? at - 60 : at + this.#between(2, 8), "get", sid);
    const touchedAt = at + this.#between(8, 16);
    this.#add(node, touchedAt, "touch", sid, { lifeMs: 40 });
    for (let i = 0; i < 6; i++) this.#add(node, touchedAt + 60 + 12 * i, "get", sid);
  };

  /** Two nodes write, and this one reads, in any order, so that replies and messages overtake one another. */
  readonly #overtake: Scene = (sid, fault, node) => {
    const { at, ms, kind } = fault;
    this.#add(node, at - 150, "set", sid);
    // Then reads do not wait for the subscriber's connection any more.
    const from = kind === "lateMessages" ? at + Math.max(5, ms - 100) : at + 5;
    const other = this.#other(node, fault);
    if (this.#isLikely(0.5)) this.#add(other, from - 20, "set", sid);
    this.#add(node, from + this.#between(0, 30), "set", sid);
    for (let i = 0; i < 2; i++) this.#add(other, from + this.#between(0, 60), "set", sid);
    // A write that a read has overtaken is not cached.
    if (this.#isLikely(0.5)) {
      for (let i = 0; i < 2; i++) this.#add(node, from + this.#between(0, 60), "get", sid);
      for (let i = 0; i < 8; i++) this.#add(node, from + 40 + 10 * i, "get", sid);
    }
    this.#readLater(node, at + ms, sid);
  };

  /**
   * A node writes, reads, and writes again in one turn. The message of the first write comes before its reply, so the read is sent
   * then, and the second write is not sent yet.
   */
  readonly #writeAgain: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    this.#add(this.#other(node, fault), at - 150, "set", sid);
    const when = at + this.#between(3, 30);
    for (const kind of ["set", "get", "set"] as const) this.#add(node, when, kind, sid);
    for (let later = when + 6; later < at + ms; later += 9) this.#add(node, later, "get", sid);
  };

  /** A write is executed after its caller has got a timeout, and has read what there was before. */
  readonly #executeLate: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    this.#add(this.#other(node, fault), at - 150, "set", sid);
    this.#add(node, at - 80, "get", sid);
    this.#add(node, at + this.#between(3, 30), this.#isLikely(0.3) ? "set" : "destroy", sid);
    this.#readLater(node, at + ms, sid);
  };

  /**
   * A save is executed, its reply is lost, and the request restores what it had loaded. It loads so early that its session is
   * there by then on a busy machine, too, although some node is under another fault.
   */
  readonly #restore: Scene = (sid, fault, node) => {
    const { at } = fault;
    const { merge } = this.#plan;
    const again = { isRevert: true, isAwaited: true };
    this.#add(this.#other(node, fault), at - 1_400, "set", sid);
    this.#add(node, at - 900, "set", sid);
    const thinkMs = 500 + this.#between(5, 30);
    const twice = this.#add(node, at - 500, "twice", sid, { thinkMs });
    twice.again = { ...again, version: merge ? this.#plan.plan(at, "set", sid).version : undefined };
    this.#readLater(node, at, sid);
  };

  /** A write is executed, its reply is lost, and another node writes. */
  readonly #sendAgain: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    const other = this.#other(node, fault);
    this.#add(other, at - 200, "set", sid);
    this.#add(node, at + this.#between(30, ms), "set", sid);
    this.#add(other, at + ms + this.#between(20, 80), "set", sid);
    this.#readLater(other, at + ms + 80, sid);
  };

  /** A touch follows a write with another life while the cache is not used. */
  readonly #cross: Scene = (sid, { at, ms, kind }, node) => {
    const from = kind === "killSubscriber" ? at : at + Math.min(ms, this.#plan.leaseMs);
    const when = from + this.#between(2, 80);
    const lifeMs = LONG_MS;
    this.#add(node, at - 100, "set", sid, { lifeMs });
    this.#add(node, when, "cross", sid, { lifeMs, otherLifeMs: 2 * LONG_MS, thinkMs: 5 });
  };

  /** Several writes are sent together, and the connection ends within them; others have these sessions in memory. */
  readonly #burst: Scene = (sid, fault, node) => {
    const { at, ms, kind } = fault;
    const reader = this.#other(node, fault, at + ms + LATER * this.#plan.leaseMs);
    this.#add(node, at - 200, "set", sid);
    this.#add(reader, at - 100, "get", sid);
    const bursts = kind === "cutWrites" ? [0, ms / CUTS] : [0, 10, 20];
    this.#add(node, at + 5 + (bursts[Math.floor(this.#between(0, bursts.length))] as number), "set", sid);
    this.#readLater(reader, at + ms, sid);
  };

  /** A session that is not in memory is read, and another node writes it while the reply is under way. */
  readonly #miss: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    const other = this.#other(node, fault);
    this.#add(other, at - 150, "set", sid);
    // So late that no node gives up its wait for the subscriber's connection.
    const readAt = at + ms - this.#between(12, 30);
    this.#add(node, readAt, "get", sid);
    this.#add(other, readAt + this.#between(2, 8), "set", sid);
    this.#readLater(node, at + ms, sid);
  };

  /** Sessions are read while all are deleted. */
  readonly #empty: Scene = (sid, fault, node) => {
    const { at } = fault;
    this.#add(this.#other(node, fault), at - 150, "set", sid);
    this.#add(node, at + this.#between(-15, 5), "get", sid);
    this.#readLater(node, at, sid);
  };

  /**
   * A read that this node has sent is executed after its own later write, and after another's still later one; the reply to its write
   * comes early or late. The client reads the session, on another connection than it writes.
   */
  readonly #crossReplies: Scene = (sid, fault, node) => {
    const { at: begin, ms } = fault;
    const { holdMessages, releaseWrites, end } = STEPS.crossedReplies;
    const other = this.#other(node, fault);
    // Half of them in the second part.
    const at = this.#isLikely(0.5) ? begin : begin + end * ms + 5;
    const writtenAt = at + holdMessages * ms;
    this.#add(other, begin - 150, "set", sid);
    this.#add(node, at + 2, "get", sid);
    this.#add(node, writtenAt + this.#between(0.02, 0.04) * ms, "set", sid);
    this.#add(other, writtenAt + this.#between(0.06, 0.09) * ms, "set", sid);
    for (let i = 0; i < 6; i++) this.#add(node, at + (releaseWrites + 0.03 * i) * ms + 4, "get", sid);
  };

  /** A touch that ends a session is executed late, and nothing tells of it; the session has been read meanwhile. */
  readonly #touchLate: Scene = (sid, fault, node) => {
    const { at } = fault;
    const { execute, end } = STEPS.lateTouches;
    this.#add(this.#other(node, fault), at - 120, "set", sid, { lifeMs: LONG_MS });
    this.#add(node, at + this.#between(4, 14), "touch", sid, { lifeMs: 40 });
    this.#add(node, at + this.#between(20, 35), "get", sid);
    for (let when = at + execute + 75; when < at + end; when += 10) this.#add(node, when, "get", sid);
  };

  /** A stale session's key ends while Redis does not answer. */
  readonly #endStale: Scene = (sid, { at }, node) => {
    const lifeMs = Math.round(this.#between(900, 1_200));
    this.#add(node, at - 60, "set", sid, { lifeMs });
    for (let when = at + lifeMs; when < at + lifeMs + 300; when += 40) this.#add(node, when, "get", sid);
  };

  /** Another node writes a stale session at the beginning. */
  readonly #outlast: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    const other = this.#other(node, fault);
    this.#add(other, at - 150, "set", sid);
    for (const before of [80, 50, 20]) this.#add(node, at - before, "get", sid);
    this.#add(other, at + 20, "set", sid);
    for (let when = at + 1_000; when < at + ms + 400; when += 100) this.#add(node, when, "get", sid);
  };

  /** Another program writes a session while the reply to a read of it is under way. */
  readonly #report: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    if (!this.#plan.isTracked) return;
    const other = this.#other(node, fault);
    this.#add(other, at - 150, "set", sid);
    const readAt = at + Math.max(3, ms - this.#between(40, 100));
    this.#add(node, readAt, "get", sid);
    this.#add(other, readAt + this.#between(2, 14), "outside", sid);
    this.#readLater(node, at + ms, sid);
  };

  /** Redis drops most of what it has to report, by the commands of those to whom it reports; then another program writes. */
  readonly #dropFromTable: Scene = (sid, fault, node) => {
    const { at, ms } = fault;
    const other = this.#other(node, fault);
    this.#add(other, at - 150, "set", sid);
    this.#add(node, at + this.#between(10, ms - 60), "get", sid);
    this.#add(other, at + ms - 20, "outside", sid);
    this.#readLater(node, at + ms, sid);
  };

  #onlyRead(fault: PlannedFault): void {
    const [from, to] = quietSpan(fault) ?? [];
    if (from === undefined || to === undefined) return;
    const isKept = ({ at, kind, thinkMs }: PlannedOperation) =>
      kind === "get" || at + thinkMs < from || at > to;
    for (const mine of this.#plan.operations) mine.splice(0, mine.length, ...mine.filter(isKept));
  }

  readonly #scenes: Partial<Record<PlannedFault["kind"], readonly Scene[]>> = {
    lateReplies: [this.#overtake, this.#end, this.#endByTouch, this.#writeAgain],
    lateAnswers: [this.#end, this.#endByTouch, this.#overtake, this.#report],
    lateMessages: [this.#overtake, this.#report],
    lateRequests: [this.#executeLate],
    lostReplies: [this.#restore, this.#restore],
    killSubscriber: [this.#cross, this.#cross],
    muteMessages: [this.#cross, this.#cross],
    stepClock: [this.#end, this.#end],
    cutData: [this.#burst, this.#burst],
    flushDb: [this.#empty, this.#empty],
    cutWrites: [this.#burst, this.#burst],
    crossedReplies: [this.#crossReplies, this.#crossReplies],
    lateTouches: [this.#touchLate],
    longPartition: [this.#endStale, this.#outlast],
    smallTable: [this.#dropFromTable, this.#dropFromTable],
  };

  readonly #laterScenes: Partial<Record<PlannedFault["kind"], readonly Scene[]>> = {
    lateAnswers: [this.#miss],
    lateMessages: [this.#miss],
  };

  /** With several servers, whose replies nobody can delay, and where the ends of keys are not judged. */
  readonly #serverScenes: Partial<Record<PlannedFault["kind"], readonly Scene[]>> = {
    lostReplies: [this.#sendAgain, this.#sendAgain],
  };

  /** What a session's name says of its life, or of its size. */
  #lengthOf(scene: Scene): string {
    const short = [this.#end, this.#endByTouch, this.#touchLate, this.#endStale];
    if (short.includes(scene)) return "-short";
    return scene === this.#crossReplies ? "-long" : "";
  }

  /** When whoever holds something old has held it for longer than a lease. */
  #readLater(node: number, from: number, sid: string): void {
    const { leaseMs } = this.#plan;
    for (const later of [5, 20, 60, 1.7 * leaseMs, LATER * leaseMs])
      this.#add(node, from + later, "get", sid);
  }

  #add(
    node: number,
    at: number,
    kind: PlannedOperation["kind"],
    sid: string,
    more: Partial<PlannedOperation> = {},
  ): { -readonly [K in keyof PlannedOperation]: PlannedOperation[K] } {
    const operation = { ...this.#plan.plan(at, kind, sid), ...more };
    this.#plan.operations[node]?.push(operation);
    return operation;
  }

  /** Another node that has no fault of its own until then, if there is one, and room for more than a few sessions. */
  #other(node: number | undefined, fault: PlannedFault, until = fault.at + fault.ms): number {
    const isCalm = (one: number) =>
      !hasSmallCache(one) &&
      !this.#faults.some(({ node, at, ms }) => node === one && at < until && at + ms > fault.at - BEFORE_MS);
    const others = [...this.#plan.operations.keys()].filter((one) => one !== node);
    const calm = others.filter(isCalm);
    const chosen = calm.length > 0 ? calm : others;
    return chosen[this.#plan.random.between(0, chosen.length)] as number;
  }

  #between(from: number, to: number): number {
    return from + this.#plan.random.next() * (to - from);
  }

  #isLikely(chance: number): boolean {
    return this.#plan.random.next() < chance;
  }
}
