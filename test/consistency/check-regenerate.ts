import { acknowledgedAt, CLOCK_SLACK_MS, type Histories, isDeletion } from "./histories.ts";
import type { EventRecord, OperationRecord, Replaced } from "./protocol.ts";
import type { SessionHistory } from "./session-history.ts";
import type { Report } from "./violation.ts";

/** What was executed so shortly before Redis was killed, its record may not have. */
const RECORD_GAP_MS = 1_000;

/**
 * Judges the sessions that `regenerate` made. One whose owner is that of a session that had been deleted before is not written;
 * without an index it is, and an event reports it. Any other is written.
 */
export function checkRegenerated(
  history: SessionHistory,
  histories: Histories,
  { isIndexed, events }: { readonly isIndexed: boolean; readonly events: readonly EventRecord[] },
  report: Report,
): void {
  for (const save of histories.operations.get(history.sid) ?? []) {
    const { replaced, node, answeredAt = Number.POSITIVE_INFINITY } = save;
    if (replaced === undefined) continue;
    const { from, to, keepsOwner } = replaced;
    const isUncertain = histories.restarts.some(
      (at) => at > from - RECORD_GAP_MS && at < answeredAt + RECORD_GAP_MS,
    );
    if (isUncertain) continue;
    const outcome = outcomeFor(histories, save, replaced);
    const isWritten = history.states.some(({ by }) => by === save);
    const isAnswered = acknowledgedAt(save) !== undefined;
    const about = { sid: replaced.sid, from: from - 500, to: Math.min(answeredAt, to + 2_000) };
    if (outcome === "gone" && isIndexed && keepsOwner && isWritten) {
      const text = `node-${node} regenerated ${replaced.sid}, which had been deleted, and wrote the new session with its owner`;
      report({ guarantee: "resurrection", text, ...about });
    }
    if (isAnswered && !isWritten && !(isIndexed && keepsOwner && outcome !== "deleted")) {
      const text = `node-${node}'s save of what it had regenerated from ${replaced.sid} was acknowledged, and never carried out`;
      report({ guarantee: "lost", text, ...about });
    }
    const isReported = events.some(
      (event) => event.node === node && event.name === "resurrection" && event.sid === history.sid,
    );
    if (outcome === "gone" && !isIndexed && isAnswered && isWritten && !isReported) {
      const text = `node-${node} regenerated ${replaced.sid}, which had been deleted, and no event reported it`;
      report({ guarantee: "events", text, ...about });
    }
    if (outcome === "deleted" && isReported) {
      const text = `node-${node} deleted ${replaced.sid} itself, and reported a resurrection`;
      report({ guarantee: "events", text, ...about });
    }
  }
}

/** What `regenerate` met: certainly no session, certainly one that it deleted itself, or it cannot be told. */
function outcomeFor(
  { sessions, operations, indexOf }: Histories,
  { node }: OperationRecord,
  { sid, from, to }: Replaced,
): "gone" | "deleted" | undefined {
  const former = sessions.get(sid);
  if (former?.between(from - CLOCK_SLACK_MS, to + CLOCK_SLACK_MS).every(({ value }) => value === null)) {
    return "gone";
  }
  const mine = (operations.get(sid) ?? []).concat(operations.get("") ?? []);
  const deletions = mine.filter(
    (one) =>
      one.node === node &&
      (isDeletion(one) || ["clear", "ban", "sweep"].includes(one.kind)) &&
      one.invokedAt <= to &&
      // One that failed may be executed at any time; and which of two is meant that are so close, no clock can tell.
      (acknowledgedAt(one) ?? Number.POSITIVE_INFINITY) >= from - 2 * CLOCK_SLACK_MS,
  );
  const [deletion] = deletions;
  if (deletion === undefined || deletions.length > 1) return undefined;
  const state = former?.states[indexOf.get(deletion) ?? -1];
  return state?.by === deletion && state.value === null ? "deleted" : undefined;
}
