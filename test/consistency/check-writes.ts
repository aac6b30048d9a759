import { acknowledgedAt, CLOCK_SLACK_MS, type Histories, keysIn } from "./histories.ts";
import type { SessionHistory, State } from "./session-history.ts";
import type { Report } from "./violation.ts";

/** Judges what the writes of a session made of it in Redis. */
export function checkWrites(
  history: SessionHistory,
  { operations, indexOf, restarts }: Histories,
  merge: boolean,
  report: Report,
): void {
  const { sid, states } = history;
  for (const operation of operations.get(sid) ?? []) {
    const answeredAt = acknowledgedAt(operation);
    if (answeredAt === undefined || operation.version === undefined || indexOf.has(operation)) continue;
    const { kind, version, node, invokedAt } = operation;
    // A save is left out when there is no session any more.
    const mayBeRefused =
      kind === "save" && history.wasNull(invokedAt - CLOCK_SLACK_MS, answeredAt + CLOCK_SLACK_MS);
    const isExcused = restarts.some((at) => at > invokedAt - CLOCK_SLACK_MS && at < answeredAt + 1_000);
    if (mayBeRefused || isExcused) continue;
    const text = `node-${node}'s ${kind} of version ${version} was acknowledged, and never carried out`;
    report({ guarantee: "lost", text, sid, from: invokedAt - 500, to: answeredAt });
  }
  for (const state of states) {
    if (state.by?.kind !== "save" || state.cause === "failover") continue;
    const before = states[state.index - 1] as State;
    if (before.value === null) checkResurrection(history, state, before, report);
    else if (merge) checkMerge(sid, state, before, report);
  }
}

function checkResurrection(history: SessionHistory, state: State, gone: State, report: Report): void {
  const { by } = state;
  const base = by?.base === undefined ? undefined : history.indexOf(by.base);
  if (base === undefined || base > gone.index) return;
  const text = `node-${by?.node} saved version ${state.value}, loaded as version ${by?.base}, after the session was gone: it is back`;
  const from = (history.states[base] as State).at - 100;
  report({ guarantee: "resurrection", text, sid: history.sid, from, to: state.at + 100 });
}

function checkMerge(sid: string, state: State, before: State, report: Report): void {
  const kept = new Set(keysIn(state.text as string));
  const lost = keysIn(before.text as string).filter((key) => !kept.has(key));
  if (lost.length === 0) return;
  const text = `node-${state.by?.node}'s save of version ${state.value} lost ${lost.join(", ")}`;
  report({ guarantee: "merge", text, sid, from: before.at - 1_000, to: state.at + 100 });
}
