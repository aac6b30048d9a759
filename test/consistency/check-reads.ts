import { acknowledgedAt, CLOCK_SLACK_MS, type Histories, isDeletion } from "./histories.ts";
import type { OperationRecord } from "./protocol.ts";
import { isShort } from "./schedule.ts";
import type { KeyEnd, OutdatedAnswer, SessionHistory, State } from "./session-history.ts";
import type { Report } from "./violation.ts";

export interface ReadLimits {
  /** The most that a read may be behind: the lease and what the measuring may add. */
  readonly boundMs: number;
  /** The same for what no node was told of. */
  readonly silentBoundMs: number;
  /** The same for a stale session, served because Redis did not answer. */
  readonly staleBoundMs: number;
}

/** For how long after it was known each write was still not seen by some node. */
export type Staleness = Map<State, number>;

/** Judges every read of a session by what Redis went through. */
export function checkReads(
  history: SessionHistory,
  { operations, indexOf, restarts }: Histories,
  limits: ReadLimits,
  staleness: Staleness,
  report: Report,
): void {
  const mine = operations.get(history.sid) ?? [];
  const seen = mine.filter(
    (operation) => operation.answeredAt !== undefined && operation.error === undefined,
  );
  const floors = new Floors();
  seen.sort((a, b) => a.invokedAt - b.invokedAt);
  for (const operation of seen) {
    const { node, invokedAt, answeredAt = 0, kind, complaint, result } = operation;
    const about = { sid: history.sid, to: answeredAt };
    if (complaint !== undefined) {
      const guarantee = complaint.startsWith("a hit") ? "live" : "copies";
      report({ guarantee, text: complaint, ...about, from: invokedAt - 2_000 });
    }
    const floor = floors.at(node, invokedAt);
    if (kind !== "get") {
      const index = indexOf.get(operation);
      // From its call on: a read that is called later waits for it, or returns something newer.
      if (index !== undefined) floors.saw(node, isDeletion(operation) ? answeredAt : invokedAt, index);
      continue;
    }
    if (result === undefined) continue;
    if (result === null && isShort(history.sid)) continue;
    const index =
      result === null
        ? history.lastNull(answeredAt + CLOCK_SLACK_MS)
        : history.lastOf(result, answeredAt + CLOCK_SLACK_MS);
    if (index === undefined) {
      // What was carried out at the very moment of a restart, the record may not have heard.
      const isExcused = restarts.some((at) => at < invokedAt + 1_000) && result !== null;
      if (!isExcused && result !== -1) {
        const text = `node-${node} read version ${result}, which Redis never held`;
        report({ guarantee: "lost", text, ...about, from: invokedAt - 3_000 });
      }
      continue;
    }
    const own = operation.isStale ? staleLimits(limits) : limits;
    if (!isOutdatedAnswer(history, operation)) {
      // The figures are about what is served while Redis answers.
      const times = operation.isStale ? new Map() : staleness;
      checkStaleness(history, operation, index, own, times, report);
    }
    checkExpiry(history, operation, mine, index, own, report);
    if (index < floor) {
      const text =
        `node-${node} read state ${index} (${shown(result)}) from ${invokedAt.toFixed(1)} to ` +
        `${answeredAt.toFixed(1)}, after it had seen or called state ${floor}`;
      const from = Math.min(invokedAt - 500, (history.states[index] as State).at);
      report({ guarantee: "monotonic", text, ...about, from });
      continue;
    }
    const proven = result === null ? history.firstNull(floor) : history.firstOf(result, floor);
    if (proven !== undefined && proven <= index) floors.saw(node, answeredAt, proven);
  }
}

/** Those of a read that was answered with a stale session. */
function staleLimits(limits: ReadLimits): ReadLimits {
  const { staleBoundMs, silentBoundMs } = limits;
  return { ...limits, boundMs: staleBoundMs, silentBoundMs: silentBoundMs + staleBoundMs };
}

/** What each node is known to have seen by a time: a read that begins later may not return less. */
class Floors {
  readonly #seen = new Map<number, { at: number; index: number }[]>();

  saw(node: number, at: number, index: number): void {
    const seen = this.#seen.get(node) ?? [];
    this.#seen.set(node, seen);
    // Answers come in about the order of the calls, so the place is found near the end.
    let i = seen.length;
    while (i > 0 && (seen[i - 1] as { at: number }).at > at) i--;
    const highest = Math.max(index, seen[i - 1]?.index ?? 0);
    seen.splice(i, 0, { at, index: highest });
    for (let later = i + 1; later < seen.length; later++) {
      const entry = seen[later] as { at: number; index: number };
      if (entry.index >= highest) break;
      entry.index = highest;
    }
  }

  at(node: number, time: number): number {
    const seen = this.#seen.get(node) ?? [];
    for (let i = seen.length - 1; i >= 0; i--) {
      const { at, index } = seen[i] as { at: number; index: number };
      if (at < time) return index;
    }
    return 0;
  }
}

/**
 * Whether it is what a replaced primary answered this very read. Its client does not know the new primary yet, and Redis has
 * no means to tell it. What is served from memory is no answer.
 */
function isOutdatedAnswer(
  { outdated }: SessionHistory,
  { node, result, isHit, invokedAt, answeredAt = 0 }: OperationRecord,
): boolean {
  const [from, to] = [invokedAt - CLOCK_SLACK_MS, answeredAt + CLOCK_SLACK_MS];
  const isThis = (answer: OutdatedAnswer) =>
    answer.node === node && answer.value === result && answer.at >= from && answer.at <= to;
  return !isHit && outdated.some(isThis);
}

function checkStaleness(
  { states, sid }: SessionHistory,
  { invokedAt, answeredAt = 0, node, result, isHit }: OperationRecord,
  index: number,
  { boundMs, silentBoundMs }: ReadLimits,
  staleness: Staleness,
  report: Report,
): void {
  let worst: { behind: number; state: State } | undefined;
  for (let i = index + 1; i < states.length; i++) {
    const state = states[i] as State;
    // States are in the order of what followed what, which after a failover need not be that of the times.
    if (state.at > invokedAt + CLOCK_SLACK_MS) continue;
    const behind = invokedAt - state.knownAt;
    if (behind <= 0) continue;
    if (!state.isSilent) staleness.set(state, Math.max(staleness.get(state) ?? 0, behind));
    const bound = state.isSilent ? silentBoundMs : boundMs;
    if (behind > bound && behind > (worst?.behind ?? 0)) worst = { behind, state };
  }
  if (worst === undefined) return;
  const { behind, state } = worst;
  const text =
    `node-${node} ${isHit ? "served from memory" : "returned"} ${shown(result)} ` +
    `${behind.toFixed(1)} ms after ${shown(state.value)} was known (at most ${boundMs})`;
  report({ guarantee: "staleness", text, sid, from: (states[index + 1] as State).at - 500, to: answeredAt });
}

function checkExpiry(
  history: SessionHistory,
  { invokedAt, answeredAt = 0, node, result }: OperationRecord,
  operations: readonly OperationRecord[],
  index: number,
  { boundMs }: ReadLimits,
  report: Report,
): void {
  const { sid } = history;
  const failed = operations.filter(
    (operation) => operation.kind === "touch" && operation.node === node && operation.error !== undefined,
  );
  const { by, at } = history.states[index] as State;
  const lifeMs = isShort(sid) ? by?.lifeMs : undefined;
  const endsAt =
    latestEnd(history.endsOf(index), node, failed, invokedAt - boundMs, invokedAt) ??
    (lifeMs === undefined ? undefined : (acknowledgedAt(by) ?? at) + lifeMs);
  if (endsAt === undefined) return;
  const late = invokedAt - endsAt;
  if (late <= EXPIRY_ALLOWANCE_MS) return;
  const text = `node-${node} read ${shown(result)} ${late.toFixed(1)} ms after the end of its key`;
  report({ guarantee: "expiry", text, sid, from: at - 100, to: answeredAt });
}

/**
 * The latest end that a node may believe in: it may not know yet that another has moved the end, for as long as a message
 * may be missing. What it has moved itself it knows, unless it got an error.
 * @param failed its touches that did
 */
function latestEnd(
  ends: readonly KeyEnd[] | undefined,
  node: number,
  failed: readonly OperationRecord[],
  from: number,
  to: number,
): number | undefined {
  if (ends === undefined) return undefined;
  const isCertain = ({ at }: KeyEnd) =>
    !failed.some(({ invokedAt }) => invokedAt < at && invokedAt > at - LATE_TOUCH_MS);
  const isKnown = (end: KeyEnd) => end.at <= from || (end.node === node && end.at <= to && isCertain(end));
  const first = Math.max(0, ends.findLastIndex(isKnown));
  return Math.max(...ends.slice(first).map(({ endsAt }) => endsAt));
}

/** By so much, at the most, a touch is executed after its call. */
const LATE_TOUCH_MS = 5_000;
/** Redis reads its clock once for each round of its loop. */
const EXPIRY_ALLOWANCE_MS = 25;

function shown(value: number | null | undefined): string {
  return value == null ? "no session" : `version ${value}`;
}
