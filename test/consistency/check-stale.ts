import { isDeletion } from "./histories.ts";
import type { EventRecord, OperationRecord } from "./protocol.ts";
import type { Report } from "./violation.ts";

/** What a node has done since it lost its verification. */
interface NodeHistory {
  readonly suspects: readonly number[];
  /** Operations that Redis answered, in the order of their answers. */
  readonly answered: readonly OperationRecord[];
}

/**
 * Judges reads that were answered with a stale session: only while Redis answers nothing, and never after this node has
 * destroyed the session. How old it may be, `checkReads` judges.
 */
export function checkStale(
  operations: readonly OperationRecord[],
  events: readonly EventRecord[],
  report: Report,
): void {
  const nodes = new Map<number, NodeHistory>();
  const historyOf = (node: number): NodeHistory => {
    const known = nodes.get(node);
    if (known !== undefined) return known;
    const suspects = events.filter((event) => event.node === node && event.name === "suspect");
    const answered = operations.filter(
      (operation) => operation.node === node && wasAnsweredByRedis(operation),
    );
    const history = { suspects: suspects.map(({ at }) => at), answered };
    nodes.set(node, history);
    return history;
  };
  for (const read of operations) {
    if (!read.isStale || read.error !== undefined) continue;
    const { node, sid, invokedAt, answeredAt = invokedAt } = read;
    const { suspects, answered } = historyOf(node);
    const suspectAt = suspects.findLast((at) => at <= answeredAt) ?? Number.POSITIVE_INFINITY;
    const about = { sid, from: invokedAt - 2_000, to: answeredAt };
    const answer = answered.find((one) => one.invokedAt > suspectAt && (one.answeredAt ?? 0) < invokedAt);
    if (answer !== undefined) {
      const text = `node-${node} served a stale session, though Redis had answered a ${answer.kind} before`;
      report({ guarantee: "stale", text, ...about });
    }
    const mine = operations.filter((one) => one.node === node);
    const hasDeleted = (one: OperationRecord) => one.kind === "clear" || (isDeletion(one) && one.sid === sid);
    const deletion = mine.findLast((one) => hasDeleted(one) && one.invokedAt < invokedAt);
    if (deletion === undefined) continue;
    const isFilled = answered.some(
      (one) =>
        one.sid === sid &&
        !isDeletion(one) &&
        (one.answeredAt ?? 0) > deletion.invokedAt &&
        (one.answeredAt ?? 0) < invokedAt,
    );
    if (isFilled) continue;
    const text = `node-${node} served a stale session that it had destroyed ${(invokedAt - deletion.invokedAt).toFixed(1)} ms before`;
    report({ guarantee: "stale", text, ...about });
  }
}

/** A touch may have been skipped. */
function wasAnsweredByRedis({ kind, error, answeredAt, isHit, isStale }: OperationRecord): boolean {
  const isSent = kind === "get" || kind === "set" || kind === "destroy";
  return isSent && error === undefined && answeredAt !== undefined && !isHit && !isStale;
}
