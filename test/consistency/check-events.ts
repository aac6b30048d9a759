import { acknowledgedAt, CLOCK_SLACK_MS, type Histories } from "./histories.ts";
import { type EventRecord, labelOf, type OperationRecord } from "./protocol.ts";
import type { RedisEvent } from "./redis-record.ts";
import { isShort } from "./schedule.ts";
import type { State } from "./session-history.ts";
import type { Report } from "./violation.ts";

/** The most that faults delay a message: a connection that is silent for longer than the lease is replaced. */
const DELAY_MS = 5_000;

/** The node that the fault `garbage` names in messages of its own. */
const NOBODY = "from x";

/** Judges the reports of deletions: Redis may have refused them. */
export function checkEvents(
  events: readonly EventRecord[],
  { sessions, restarts }: Histories,
  report: Report,
): void {
  for (const { node, at, name, sid = "", detail = "" } of events) {
    const history = sessions.get(sid);
    if (name !== "destroyed" || detail === NOBODY || history === undefined || isShort(sid)) continue;
    if (isNearRestart(restarts, at) || history.wasNull(at - DELAY_MS, at + CLOCK_SLACK_MS)) continue;
    const text = `node-${node} reported a deletion ${detail}, and the session was there all the time`;
    report({ guarantee: "events", text, sid, from: at - DELAY_MS, to: at });
  }
}

/**
 * Judges that no node reports a deletion twice: each report is assigned to a deletion of its own that Redis has executed, for a
 * node of that label. A destroy of a session that is gone is a deletion, too.
 */
export function checkRepeats(
  events: readonly EventRecord[],
  carriedOut: readonly RedisEvent[],
  { sessions, restarts }: Histories,
  report: Report,
): void {
  const deletions = new Map<string, RedisEvent[]>();
  for (const event of carriedOut) {
    if (event.kind !== "del") continue;
    const found = deletions.get(event.sid);
    if (found === undefined) deletions.set(event.sid, [event]);
    else found.push(event);
  }
  const assigned = new Map<string, Set<RedisEvent>>();
  const reports = events.filter(({ name, detail }) => name === "destroyed" && detail !== NOBODY);
  for (const { node, at, sid = "", detail = "" } of reports.sort((a, b) => a.at - b.at)) {
    if (!sessions.has(sid) || isNearRestart(restarts, at)) continue;
    const key = `${node} ${sid}`;
    const taken = assigned.get(key) ?? new Set();
    assigned.set(key, taken);
    // The earliest that it can be leaves the most for the reports that follow.
    const deletion = deletions.get(sid)?.find((one) => {
      const isInTime = one.at > at - DELAY_MS && one.at < at + CLOCK_SLACK_MS;
      const isOfLabel = one.node === undefined || detail === `from ${labelOf(one.node)}`;
      return isInTime && isOfLabel && !taken.has(one);
    });
    if (deletion !== undefined) taken.add(deletion);
    else {
      const text = `node-${node} reported a deletion ${detail} that it had reported before, or that was none`;
      report({ guarantee: "events", text, sid, from: at - DELAY_MS, to: at });
    }
  }
}

/** What was carried out at the very moment of a restart, the record may not have heard. */
function isNearRestart(restarts: readonly number[], at: number): boolean {
  return restarts.some((restart) => restart > at - DELAY_MS && restart < at + 1_000);
}

/**
 * Judges that deletions are reported: by every node that was live then, and that served a hit more than a lease later. That
 * shows that it has received all messages published until then.
 */
export function checkReports(
  events: readonly EventRecord[],
  operations: readonly OperationRecord[],
  histories: Histories,
  { nodes, leaseMs }: { readonly nodes: number; readonly leaseMs: number },
  report: Report,
): void {
  const reports = new Map<string, number[]>();
  for (const { name, node, sid, at } of events) {
    if (name !== "destroyed") continue;
    const key = `${node} ${sid}`;
    reports.set(key, [...(reports.get(key) ?? []), at]);
  }
  const changes = Array.from({ length: nodes }, (_, node) => ({
    states: events.filter((event) => event.node === node && STATES.includes(event.name)),
    hits: operations
      .filter((read) => read.node === node && read.isHit && !read.isStale && read.error === undefined)
      .map(({ invokedAt }) => invokedAt)
      .sort((a, b) => a - b),
  }));
  for (const { sid, states } of histories.sessions.values()) {
    if (isShort(sid)) continue;
    for (const state of states) {
      const { by, at } = state;
      if (by === undefined || state.cause !== "del" || mayBeClear(state, by, histories)) continue;
      if (mayBeUnreported(state, changes[by.node]?.states ?? [])) continue;
      for (const [node, mine] of changes.entries()) {
        if (node === by.node && !isNews(state, by)) continue;
        const provenAt = mine.hits.find((time) => time > at + leaseMs + NEWS_MS);
        if (provenAt === undefined || !wasLive(mine.states, at, provenAt)) continue;
        const found = reports.get(`${node} ${sid}`) ?? [];
        if (found.some((time) => time > at - CLOCK_SLACK_MS && time < at + DELAY_MS)) continue;
        const text = `node-${node} was live, and did not report node-${by.node}'s deletion`;
        report({ guarantee: "events", text, sid, from: at - 1_000, to: at + 1_000 });
      }
    }
  }
}

/** Events that begin or end what a node receives, or its process. */
const STATES: readonly string[] = ["live", "suspect", "killed", "started anew"];

/** Nodes are live when a round begins. */
function wasLive(changes: readonly EventRecord[], at: number, until: number): boolean {
  const last = changes.findLast((event) => event.at <= at + CLOCK_SLACK_MS);
  const isEnding = changes.some((event) => event.at > at - CLOCK_SLACK_MS && event.at < until);
  return (last === undefined || last.name === "live") && !isEnding;
}

/** A clear is reported as a flush. */
function mayBeClear({ at }: State, by: OperationRecord, { operations }: Histories): boolean {
  if (by.kind === "clear") return true;
  return (operations.get("") ?? []).some(
    (one) =>
      one.kind === "clear" &&
      one.node === by.node &&
      one.invokedAt <= at + CLOCK_SLACK_MS &&
      (acknowledgedAt(one) ?? Number.POSITIVE_INFINITY) >= at - CLOCK_SLACK_MS,
  );
}

/** Its process was killed so soon after it that it may belong to an operation which nobody has reported: a clear, perhaps. */
function mayBeUnreported({ at }: State, states: readonly EventRecord[]): boolean {
  return states.some((state) => state.name === "killed" && state.at > at && state.at < at + DELAY_MS);
}

/** A node reports its own deletion when it is answered, or when it is executed although the caller has got an error. */
function isNews({ at }: State, by: OperationRecord): boolean {
  const isLate = by.answeredAt !== undefined && at > by.answeredAt + NEWS_MS;
  return acknowledgedAt(by) !== undefined || isLate;
}

/** The deadline passes before its error is given to the callback. */
const NEWS_MS = 20;
