import { setTimeout as pause } from "node:timers/promises";
import { checkEvents, checkRepeats, checkReports } from "./check-events.ts";
import { auditIndex, checkIndex, rebuildIndex } from "./check-index.ts";
import { checkReads, type Staleness } from "./check-reads.ts";
import { checkRegenerated } from "./check-regenerate.ts";
import { checkRecord, checkRest, readAll } from "./check-rest.ts";
import { checkStale } from "./check-stale.ts";
import { checkWrites } from "./check-writes.ts";
import { type FaultSpan, makeFaults } from "./faults.ts";
import { buildHistories, CLOCK_SLACK_MS, type Histories } from "./histories.ts";
import { isIndexed, type Options, STALE_MS, stalenessBoundMs } from "./options.ts";
import { printHistory } from "./print-history.ts";
import { type EventRecord, LEASE, type OperationRecord, type Rest } from "./protocol.ts";
import type { Rig } from "./rig.ts";
import { planRound } from "./schedule.ts";
import type { Violation } from "./violation.ts";

export interface RoundResult {
  readonly seed: number;
  readonly ms: number;
  readonly isIndexed: boolean;
  readonly startedAt: number;
  readonly operations: readonly OperationRecord[];
  readonly histories: Histories;
  readonly staleness: Staleness;
  readonly faults: readonly FaultSpan[];
  readonly rests: readonly Rest[];
  readonly violations: readonly (Violation & { readonly history?: string })[];
}

/** So many violations are shown with their histories; the others are counted. */
const SHOWN_IN_FULL = 3;
const FIRST_VERSION_STEP = 1_000_000;

/**
 * 1. Operations and faults run at the times that were planned for them.
 * 2. All faults end, and everybody comes to rest: what is under way is answered, all are live, Redis is quiet.
 * 3. Every node reads every session, and shows what it has in memory.
 * 4. What was seen is judged by what Redis carried out.
 */
export async function runRound(rig: Rig, options: Options, seed: number, ms: number): Promise<RoundResult> {
  const { leaseMs } = LEASE[options.topology];
  const violations: (Violation & { history?: string })[] = [];
  const lanes = rig.planFaults(options, seed, ms);
  const {
    operations: plans,
    sids,
    oneOff,
    owners,
  } = planRound(options, seed, ms, (seed % 1_000) * FIRST_VERSION_STEP, lanes.flat());
  const hasIndex = isIndexed(options, seed);
  await rig.setIndexed(hasIndex);
  const all = [...sids, ...oneOff];
  await rig.begin(all);
  const startedAt = rig.clock.now() + 50;
  for (const node of rig.nodes) {
    const operations = plans[node.index] ?? [];
    node.plan = { startedAt, operations };
    node.process.play(startedAt, 0, operations);
  }
  let isAtRest = false;
  const audit = hasIndex ? auditIndex(rig, all, () => isAtRest) : undefined;
  const spans: FaultSpan[] = [];
  await Promise.all(
    lanes.map((lane) =>
      makeFaults(rig, startedAt, lane, sids, (span) => span.kind !== "writeKeys" && spans.push(span)),
    ),
  );
  await pause(Math.max(0, startedAt + ms - rig.clock.now()));

  await rig.calm();
  const settled = await Promise.all(rig.nodes.map(({ process }) => process.settle()));
  settled.forEach(({ isLive }, node) => {
    if (isLive) return;
    const why = rig.events.findLast((event) => event.node === node && event.name === "clusterError")?.detail;
    const text = `node-${node} was not live again 30 s after the faults: ${why}`;
    violations.push({ guarantee: "rest", text });
  });
  await rig.quiet(300);
  // The last messages have been heard when another heartbeat has come back; a lease is time enough for several.
  await pause(leaseMs);
  const readAt = rig.clock.now();
  const held = await readAll(rig, all);
  const rests = await Promise.all(rig.nodes.map(({ process }) => process.rest(sids, owners)));
  isAtRest = true;
  const unindexed = [...((await audit) ?? [])];
  if (hasIndex) unindexed.push(...(await rebuildIndex(rig, all, owners)));
  const carriedOut = await rig.takeEvents();

  const operations = rig.operations;
  const events: readonly EventRecord[] = rig.events;
  const histories = buildHistories(all, operations, carriedOut, options.tracking);
  // A write whose caller got a timeout may be executed even now, before or after its session was read.
  for (const { sid, last } of histories.sessions.values())
    if (last.at > readAt - CLOCK_SLACK_MS) held.delete(sid);
  const staleness: Staleness = new Map();
  const report = (violation: Violation) => {
    const history = violation.sid === undefined ? undefined : histories.sessions.get(violation.sid);
    const isShown = violations.filter((other) => other.history !== undefined).length < SHOWN_IN_FULL;
    if (history === undefined || !isShown) violations.push(violation);
    else {
      const mine = histories.operations.get(history.sid) ?? [];
      const isGeneral = ({ kind, owner }: OperationRecord) =>
        kind === "clear" ||
        history.states.some((state) => state.owner !== undefined && state.owner === owner);
      const shown = operations.filter(isGeneral).concat(mine);
      violations.push({ ...violation, history: printHistory(violation, history, shown, events) });
    }
  };
  const boundMs = stalenessBoundMs(options, leaseMs);
  const staleBoundMs = STALE_MS + options.allowanceMs;
  const limits = { boundMs, silentBoundMs: options.cacheTtlMs + boundMs, staleBoundMs };
  const regenerated = { isIndexed: hasIndex, events };
  for (const history of histories.sessions.values()) {
    checkReads(history, histories, limits, staleness, report);
    checkWrites(history, histories, { merge: options.merge, boundMs }, report);
    // With several servers, what was deleted while nobody listened to one of them is not known.
    if (options.topology === "single") checkRegenerated(history, histories, regenerated, report);
  }
  if (options.topology === "single") {
    checkEvents(events, histories, report);
    checkRepeats(events, carriedOut, histories, report);
    checkReports(events, operations, histories, { nodes: options.nodes, leaseMs }, report);
  }
  if (options.stale) checkStale(operations, events, report);
  if (hasIndex) checkIndex(histories, unindexed, events, report);
  checkRest(rests, held, histories, report);
  checkRecord(held, histories, options.merge, report);
  for (const { text } of rig.complaints) report({ guarantee: "rest", text });

  rig.operations = [];
  rig.events = [];
  rig.complaints = [];
  return {
    seed,
    ms,
    isIndexed: hasIndex,
    startedAt,
    operations,
    histories,
    staleness,
    faults: spans,
    rests,
    violations,
  };
}
