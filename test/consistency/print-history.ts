import type { EventRecord, OperationRecord } from "./protocol.ts";
import type { SessionHistory } from "./session-history.ts";
import type { Violation } from "./violation.ts";

const MOST_LINES = 150;

/** Everything about one session, in the order of time: operations, what Redis carried out, what the nodes heard, the faults. */
export function printHistory(
  { from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY }: Violation,
  history: SessionHistory,
  operations: readonly OperationRecord[],
  events: readonly EventRecord[],
): string {
  const lines: { at: number; text: string }[] = [];
  const add = (at: number, who: string, what: string) => {
    if (at < from || at > to + 200) return;
    lines.push({ at, text: `${at.toFixed(1).padStart(10)}  ${who.padEnd(7)} ${what}` });
  };
  for (const state of history.states) {
    const { index, value, at, cause, isSilent, owner } = state;
    const of = owner === undefined ? "" : ` of ${owner}`;
    const what = `${cause.toUpperCase()}: state ${index} is ${value === null ? "no session" : `version ${value}${of}`}`;
    add(at, "Redis", what + (isSilent ? ", nobody is told" : ""));
  }
  for (const operation of operations) {
    const who = `node-${operation.node}`;
    add(operation.invokedAt, who, callOf(operation));
    if (operation.kind !== "get" && operation.answeredAt !== undefined) {
      add(operation.answeredAt, who, `${callOf(operation)} answered: ${operation.error ?? "done"}`);
    }
  }
  for (const { at, node, name, sid, detail } of events) {
    if (sid !== undefined && sid !== history.sid) continue;
    add(at, node < 0 ? "Redis" : `node-${node}`, `* ${name}${detail === undefined ? "" : `: ${detail}`}`);
  }
  lines.sort((a, b) => a.at - b.at);
  const left = lines.length - MOST_LINES;
  const shown = left > 0 ? [...lines.slice(0, 50), ...lines.slice(50 + left)] : lines;
  const texts = shown.map(({ text }) => text);
  if (left > 0) texts.splice(50, 0, `            … ${left} more lines …`);
  return [`  history of ${history.sid} (milliseconds since the start)`, ...texts].join("\n");
}

function callOf(operation: OperationRecord): string {
  const { kind, version, base, result, isHit, answeredAt, invokedAt, error, lifeMs, owner } = operation;
  if (owner !== undefined) return `${kind} ${owner}`;
  const what = `${kind}${version === undefined ? "" : ` version ${version}`}${base === undefined ? "" : ` (loaded ${base})`}`;
  if (kind !== "get") return lifeMs === undefined ? what : `${what}, to live for ${lifeMs} ms`;
  const took = answeredAt === undefined ? "no answer" : `${(answeredAt - invokedAt).toFixed(1)} ms`;
  const outcome = error ?? (result === null ? "no session" : `version ${result}`);
  return `${what} → ${outcome} (${isHit ? "hit" : "Redis"}, ${took})`;
}
