import { setTimeout as pause } from "node:timers/promises";
import { acknowledgedAt, CLOCK_SLACK_MS, type Histories } from "./histories.ts";
import { type EventRecord, type OperationRecord, UNKNOWN_OWNER, UNKNOWN_OWNER_ERROR } from "./protocol.ts";
import type { Rig, Unindexed } from "./rig.ts";
import type { SessionHistory } from "./session-history.ts";
import type { Report } from "./violation.ts";

/** Judges listings and bans: what each found, compared with the sessions that its owner had all the while. */
export function checkIndex(
  histories: Histories,
  unindexed: readonly Unindexed[],
  events: readonly EventRecord[],
  report: Report,
): void {
  const kills = events.filter(({ name }) => name === "killed");
  const sessions = [...histories.sessions.values()].filter(({ sid }) => sid.includes("owned"));
  for (const operation of histories.operations.get("") ?? []) {
    if (acknowledgedAt(operation) === undefined) continue;
    if (operation.kind === "list") checkListing(operation, sessions, report);
    if (operation.kind === "ban") checkBan(operation, sessions, report);
  }
  for (const history of sessions) {
    checkDeletions(history, kills, report);
    const mine = histories.operations.get(history.sid) ?? [];
    checkInvalid(history, mine, report);
    checkBlocked(history.sid, mine, report);
  }
  for (const entry of unindexed) checkEntry(entry, report);
}

/** Whether the owner had it at each moment of the operation: however the two fell, the operation must have seen it. */
function isOwnedThroughout(
  history: SessionHistory,
  { owner, invokedAt, answeredAt = 0 }: OperationRecord,
): boolean {
  const states = history.between(invokedAt - CLOCK_SLACK_MS, answeredAt + CLOCK_SLACK_MS);
  return states.length > 0 && states.every((state) => state.value !== null && state.owner === owner);
}

function checkListing(list: OperationRecord, sessions: readonly SessionHistory[], report: Report): void {
  const { node, owner, found = [], invokedAt, answeredAt = 0 } = list;
  for (const history of sessions) {
    if (found.includes(history.sid) || !isOwnedThroughout(history, list)) continue;
    const text = `node-${node} listed the sessions of ${owner}, and did not find this one`;
    report({ guarantee: "found", text, sid: history.sid, from: invokedAt - 2_000, to: answeredAt });
  }
}

function checkBan(ban: OperationRecord, sessions: readonly SessionHistory[], report: Report): void {
  const { node, owner, invokedAt, answeredAt = 0 } = ban;
  for (const history of sessions) {
    if (!isOwnedThroughout(history, ban)) continue;
    const text = `node-${node} banned ${owner}, and this session lives`;
    report({ guarantee: "banned", text, sid: history.sid, from: invokedAt - 2_000, to: answeredAt });
  }
}

/** What a process did so shortly before it was killed, it may not have reported. */
const UNREPORTED_MS = 1_000;

/** A ban deletes no session of anybody else, even if it was the banned one's when it was found. */
function checkDeletions(history: SessionHistory, kills: readonly EventRecord[], report: Report): void {
  for (const { by, at, index, cause } of history.states) {
    if (by?.kind !== "ban" || cause !== "del") continue;
    if (kills.some((kill) => kill.node === by.node && kill.at > at && kill.at < at + UNREPORTED_MS)) continue;
    const before = history.states[index - 1];
    if (before === undefined || before.owner === by.owner) continue;
    const text = `node-${by.node} banned ${by.owner}, and deleted this session of ${before.owner}`;
    report({ guarantee: "banned", text, sid: history.sid, from: at - 2_000, to: at });
  }
}

/** A save for which `indexBy` throws fails and changes nothing: what it wrote would be found by nobody. */
function checkInvalid(
  { sid, states }: SessionHistory,
  operations: readonly OperationRecord[],
  report: Report,
): void {
  for (const operation of operations) {
    if (operation.kind !== "invalid" || acknowledgedAt(operation) === undefined) continue;
    const text = `node-${operation.node}'s save was acknowledged, though indexBy had thrown`;
    report({ guarantee: "found", text, sid, from: operation.invokedAt - 500, to: operation.answeredAt ?? 0 });
  }
  for (const { owner, at, isSilent } of states) {
    if (owner !== UNKNOWN_OWNER || isSilent) continue;
    const text = "a session was written for which indexBy throws";
    report({ guarantee: "found", text, sid, from: at - 500, to: at });
  }
}

/** What a session was before, `indexBy` may not know; whoever logs in or out, or bans, gets no error for it. */
function checkBlocked(sid: string, operations: readonly OperationRecord[], report: Report): void {
  for (const { kind, node, error, replaced, invokedAt, answeredAt = invokedAt } of operations) {
    // A save of a session that was loaded so, and keeps that owner, fails.
    const isItsOwn = kind === "invalid" || kind === "save" || replaced !== undefined;
    if (isItsOwn || error?.includes(UNKNOWN_OWNER_ERROR) !== true) continue;
    const text = `node-${node}'s ${kind} failed, because indexBy throws for what the session was before`;
    report({ guarantee: "blocked", text, sid, from: invokedAt - 2_000, to: answeredAt });
  }
}

function checkEntry({ sid, at, owner, missingMs }: Unindexed, report: Report): void {
  const what = missingMs === undefined ? "is missing" : `ends ${missingMs} ms before it`;
  const text = `the index entry of ${owner} ${what}`;
  report({ guarantee: "found", text, sid, from: at - 2_000, to: at });
}

/** Looks into the index again and again, until it is told to stop; an entry that ends too early hides its session only then. */
export async function auditIndex(
  rig: Rig,
  sids: readonly string[],
  isOver: () => boolean,
): Promise<readonly Unindexed[]> {
  const owned = sids.filter((sid) => sid.includes("owned"));
  const found = new Map<string, Unindexed>();
  for (let isLast = false; !isLast; await pause(AUDIT_MS)) {
    isLast = isOver();
    // Redis may be about to be restarted; what it holds at rest is always seen.
    const audit = await rig.auditIndex(owned).catch(() => []);
    for (const entry of audit) if (!found.has(entry.sid)) found.set(entry.sid, entry);
  }
  return [...found.values()];
}

/**
 * The index is lost, and a node builds it anew, from sessions of which some are unreadable, or have no owner that is known.
 * @returns the sessions that it lacks then
 */
export async function rebuildIndex(
  rig: Rig,
  sids: readonly string[],
  owners: readonly string[],
): Promise<readonly Unindexed[]> {
  await rig.loseIndex(owners);
  await rig.nodes[0]?.process.reindex();
  return rig.auditIndex(sids.filter((sid) => sid.includes("owned")));
}

const AUDIT_MS = 100;
