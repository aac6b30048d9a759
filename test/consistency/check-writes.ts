import { acknowledgedAt, CLOCK_SLACK_MS, type Histories, keysIn } from "./histories.ts";
import type { OperationRecord } from "./protocol.ts";
import { isShort } from "./schedule.ts";
import type { KeyEnd, SessionHistory, State } from "./session-history.ts";
import type { Report } from "./violation.ts";

export interface WriteLimits {
  /** With `onConflict: "merge"`. */
  readonly merge: boolean;
  /** The most that what a node knows of a session may be behind. */
  readonly boundMs: number;
}

/** Judges what the writes of a session made of it in Redis. */
export function checkWrites(
  history: SessionHistory,
  histories: Histories,
  { merge, boundMs }: WriteLimits,
  report: Report,
): void {
  const operations = histories.operations.get(history.sid) ?? [];
  for (const operation of operations) {
    if (acknowledgedAt(operation) === undefined) continue;
    if (operation.kind === "touch") checkTouch(history, operation, histories, boundMs, report);
    // `checkRegenerated` judges sessions that replace another.
    else if (operation.version === undefined || operation.replaced !== undefined) continue;
    else if (!operation.isRestore) checkCarriedOut(history, operation, histories, report);
    else checkRevert(history, operation, operations, histories, report);
  }
  checkOrder(history, operations, histories, report);
  for (const state of histories.repeats) {
    if (history.states[state.index] === state) checkRepeat(state, history, report);
  }
  for (const state of history.states) {
    if (state.by?.kind !== "save" || state.cause === "failover") continue;
    const before = history.states[state.index - 1] as State;
    if (before.value === null) checkResurrection(history, state, before, report);
    else if (merge) checkMerge(history.sid, state, before, operations, report);
  }
}

/** What cannot be told: the record may have a gap, or there was no session, and a save was refused. */
function isExcused(
  history: SessionHistory,
  { kind, invokedAt, answeredAt = 0 }: OperationRecord,
  { restarts }: Histories,
): boolean {
  const mayBeRefused =
    kind !== "set" && history.wasNull(invokedAt - CLOCK_SLACK_MS, answeredAt + CLOCK_SLACK_MS);
  return mayBeRefused || restarts.some((at) => at > invokedAt - CLOCK_SLACK_MS && at < answeredAt + 1_000);
}

function checkCarriedOut(
  history: SessionHistory,
  operation: OperationRecord,
  histories: Histories,
  report: Report,
): void {
  if (histories.indexOf.has(operation) || isExcused(history, operation, histories)) return;
  const { kind, version, node, invokedAt, answeredAt = 0 } = operation;
  const text = `node-${node}'s ${kind} of version ${version} was acknowledged, and never carried out`;
  report({ guarantee: "lost", text, sid: history.sid, from: invokedAt - 500, to: answeredAt });
}

/** A save that changes back what an earlier one wrote: if that one was carried out, so must this be. */
function checkRevert(
  history: SessionHistory,
  revert: OperationRecord,
  operations: readonly OperationRecord[],
  histories: Histories,
  report: Report,
): void {
  if (isExcused(history, revert, histories)) return;
  const { invokedAt, answeredAt = 0, version, revertOf, node } = revert;
  const undone = operations.find(({ version, isRestore }) => version === revertOf && !isRestore);
  const index = undone && histories.indexOf.get(undone);
  if (undone === undefined || index === undefined) return;
  const [from, to] = [invokedAt - CLOCK_SLACK_MS, answeredAt + CLOCK_SLACK_MS];
  // One that seemed to fail may still be carried out later.
  const isCertain = acknowledgedAt(undone) !== undefined;
  if (!isCertain && (history.states[index] as State).at > to) return;
  const isBack = history.states.some(
    (state) =>
      state.value === version && state.at >= from && state.at <= to && (!isCertain || state.index > index),
  );
  if (isBack) return;
  const text = `node-${node}'s save that changes version ${revertOf} back to ${version} was acknowledged, and never carried out`;
  report({ guarantee: "lost", text, sid: history.sid, from: invokedAt - 1_000, to: answeredAt });
}

/** One that failed may be carried out at any time; one that succeeded comes before all that the node called later. */
function checkOrder(
  { sid, states }: SessionHistory,
  operations: readonly OperationRecord[],
  { indexOf }: Histories,
  report: Report,
): void {
  // A failover changes what came before what.
  if (states.some(({ cause }) => cause === "failover")) return;
  const writes = operations
    .filter((operation) => operation.version !== undefined && indexOf.has(operation))
    .sort((a, b) => a.invokedAt - b.invokedAt);
  const last = new Map<number, OperationRecord>();
  for (const write of writes) {
    const before = last.get(write.node);
    const [index, indexBefore] = [indexOf.get(write) ?? 0, before ? (indexOf.get(before) ?? 0) : -1];
    if (before !== undefined && index < indexBefore) {
      const text =
        `node-${write.node}'s ${write.kind} of version ${write.version} was carried out before ` +
        `its ${before.kind} of version ${before.version}, which it had called earlier`;
      report({
        guarantee: "order",
        text,
        sid,
        from: before.invokedAt - 100,
        to: write.answeredAt ?? write.invokedAt,
      });
    } else if (acknowledgedAt(write) !== undefined) last.set(write.node, write);
  }
}

/** One that failed may be carried out late, but no more than once: nobody could tell what comes before it. */
function checkRepeat({ index, value, by, at }: State, { sid }: SessionHistory, report: Report): void {
  const text = `node-${by?.node}'s ${by?.kind} of version ${value} was carried out again, as state ${index}`;
  report({ guarantee: "once", text, sid, from: (by?.invokedAt ?? at) - 100, to: at });
}

/** A touch may be skipped if the node believes that the key ends about then, and what it believes may be a lease old. */
function checkTouch(
  history: SessionHistory,
  touch: OperationRecord,
  histories: Histories,
  boundMs: number,
  report: Report,
): void {
  const { ends } = history;
  // A short one may have ended.
  if (ends.length === 0 || isShort(history.sid) || isExcused(history, touch, histories)) return;
  const { invokedAt, answeredAt = 0, lifeMs = 0, node, loadedAt = invokedAt } = touch;
  const isMine = (end: KeyEnd) =>
    end.node === node &&
    end.at >= invokedAt - CLOCK_SLACK_MS &&
    end.at <= answeredAt + CLOCK_SLACK_MS &&
    Math.abs(end.endsAt - end.at - lifeMs) < TOUCH_SLACK_MS;
  if (ends.some(isMine)) return;
  const windowMs = Math.min(lifeMs / 100, 60_000) + TOUCH_SLACK_MS;
  const knownFrom = Math.max(loadedAt - boundMs, pendingWriteAt(history, touch, histories));
  // What bypasses the store is not published, so a copy from before may be what the node goes by.
  const isPublished = ({ at }: KeyEnd) => !history.states.some((state) => state.isSilent && state.at === at);
  const isNear = ends.some(
    ({ at, endsAt }, i) =>
      at <= answeredAt &&
      (ends.slice(i + 1).find(isPublished)?.at ?? Number.POSITIVE_INFINITY) > knownFrom &&
      Math.abs(endsAt - invokedAt - lifeMs) < windowMs,
  );
  if (isNear) return;
  const end = ends.findLast(({ at }) => at <= answeredAt);
  const text = `node-${node}'s touch to ${lifeMs} ms was acknowledged, and its key lives for ${((end?.endsAt ?? 0) - invokedAt).toFixed(0)} ms`;
  report({ guarantee: "lifetime", text, sid: history.sid, from: loadedAt - 2 * boundMs, to: answeredAt });
}

/** When a write was executed that the same node had called before the touch, and that was pending then: the touch comes after it. */
function pendingWriteAt(
  { sid, states }: SessionHistory,
  { node, invokedAt }: OperationRecord,
  { operations, indexOf }: Histories,
): number {
  const times = (operations.get(sid) ?? []).flatMap((write) => {
    const isPending =
      write.node === node &&
      write.version !== undefined &&
      write.invokedAt < invokedAt &&
      (acknowledgedAt(write) ?? 0) > invokedAt;
    const index = isPending ? indexOf.get(write) : undefined;
    return index === undefined ? [] : [(states[index] as State).at];
  });
  return Math.max(Number.NEGATIVE_INFINITY, ...times);
}

/** What a node knows of an end is rounded, and counts from when the question was sent. */
const TOUCH_SLACK_MS = 1_000;

function checkResurrection(history: SessionHistory, state: State, gone: State, report: Report): void {
  const { by } = state;
  const base = by?.base === undefined ? undefined : history.indexOf(by.base);
  if (base === undefined || base > gone.index) return;
  const text = `node-${by?.node} saved version ${state.value}, loaded as version ${by?.base}, after the session was gone: it is back`;
  const from = (history.states[base] as State).at - 100;
  report({ guarantee: "resurrection", text, sid: history.sid, from, to: state.at + 100 });
}

function checkMerge(
  sid: string,
  state: State,
  before: State,
  operations: readonly OperationRecord[],
  report: Report,
): void {
  const kept = new Set(keysIn(state.text as string));
  const lost = keysIn(before.text as string).filter(
    (key) => !kept.has(key) && key !== `k${state.by?.revertOf}`,
  );
  const from = before.at - 1_000;
  if (lost.length > 0) {
    const text = `node-${state.by?.node}'s save of version ${state.value} lost ${lost.join(", ")}`;
    report({ guarantee: "merge", text, sid, from, to: state.at + 100 });
  }
  if (state.by?.revertOf === undefined || !kept.has(`k${state.by.revertOf}`)) return;
  const { revertOf } = state.by;
  const undone = operations.find(({ version, isRestore }) => version === revertOf && !isRestore);
  // The outcome of its own save was unknown, and another has written since: the key may be that one's as well.
  if (acknowledgedAt(undone) === undefined && before.by !== undone) return;
  const text = `node-${state.by.node} removed k${revertOf}, which it had added itself, and it is still there`;
  report({ guarantee: "merge", text, sid, from, to: state.at + 100 });
}
