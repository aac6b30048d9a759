import { acknowledgedAt, type Histories, keysIn } from "./histories.ts";
import type { Rest } from "./protocol.ts";
import type { Rig } from "./rig.ts";
import { isShort } from "./schedule.ts";
import type { SessionHistory, State } from "./session-history.ts";
import type { Report } from "./violation.ts";

/** What Redis holds, read by the checker's own connection. */
export interface Held {
  readonly text: string | null;
  /** When the key ends, by the wall clock. */
  readonly endsAt: number | undefined;
}

export async function readAll(rig: Rig, sids: readonly string[]): Promise<Map<string, Held>> {
  const held = await Promise.all(sids.map((sid) => rig.read(sid)));
  return new Map(sids.map((sid, i) => [sid, held[i] as Held]));
}

/** The wall clock has whole milliseconds, on both sides, and the reply takes its time. */
const END_ALLOWANCE_MS = 50;
const MOST_HEAP_BYTES = 256 * 1024 * 1024;

/** Judges the nodes when nothing is going on any more. */
export function checkRest(
  rests: readonly Rest[],
  held: ReadonlyMap<string, Held>,
  { sessions }: Histories,
  report: Report,
): void {
  rests.forEach(({ entries, health, pending, heapBytes }, node) => {
    for (const { sid, text, expiresAt } of entries) {
      const there = held.get(sid);
      if (there === undefined) continue;
      // Nobody was told, or its time has just come: that is the time to live's, not the messages', to end.
      const isExcused = (there.text === null && isShort(sid)) || sessions.get(sid)?.last.isSilent;
      if (there.text !== text) {
        if (isExcused) continue;
        const what = `node-${node} has ${text}\n  in memory, and Redis holds ${there.text}`;
        report({ guarantee: "quiet", text: what, sid });
      }
      const late = (expiresAt ?? Number.POSITIVE_INFINITY) - (there.endsAt ?? Number.POSITIVE_INFINITY);
      if (there.text !== null && late > END_ALLOWANCE_MS) {
        report({
          guarantee: "expiry",
          text: `node-${node} believes that ${sid} ends ${late} ms later than its key`,
          sid,
        });
      }
    }
    if (pending > 0)
      report({ guarantee: "rest", text: `node-${node}: ${pending} operations without an answer` });
    if (!health.redis || !health.subscribed || health.tracking === false) {
      report({ guarantee: "rest", text: `node-${node} is not healthy: ${JSON.stringify(health)}` });
    }
    if (heapBytes > MOST_HEAP_BYTES) {
      report({ guarantee: "rest", text: `node-${node} holds ${heapBytes} bytes of memory at rest` });
    }
  });
}

/** The judge is judged: what it believes that Redis went through must have led to what Redis holds. @param held as far as it is known */
export function checkRecord(
  held: ReadonlyMap<string, Held>,
  histories: Histories,
  merge: boolean,
  report: Report,
): void {
  for (const [sid, history] of histories.sessions) {
    const text = held.get(sid)?.text;
    if (text === undefined) continue;
    if (!isShort(sid) && text !== (history.last.text ?? null)) {
      const believed = history.last.text ?? null;
      report({ guarantee: "record", text: `Redis holds ${text}, and is believed to hold ${believed}`, sid });
    }
    if (merge && text !== null) checkKeys(history, text, histories, report);
  }
}

/** Every acknowledged save since the session was last made anew must have left its key. */
function checkKeys(
  history: SessionHistory,
  text: string,
  { indexOf, operations }: Histories,
  report: Report,
): void {
  const kept = new Set(keysIn(text));
  const isMadeAnew = ({ by, cause }: State) => by?.kind !== "save" || cause === "failover";
  const made = history.states.findLast(isMadeAnew) as State;
  const mine = operations.get(history.sid) ?? [];
  const undone = new Set(mine.map(({ revertOf }) => revertOf));
  for (const operation of mine) {
    const { kind, version, revertOf } = operation;
    if (kind !== "save" || acknowledgedAt(operation) === undefined) continue;
    if (revertOf !== undefined || undone.has(version)) continue;
    const isLater = (indexOf.get(operation) ?? -1) > made.index;
    if (!isLater || kept.has(`k${operation.version}`)) continue;
    const what = `the acknowledged key k${operation.version} is not there at the end`;
    report({ guarantee: "merge", text: what, sid: history.sid, from: operation.invokedAt - 100 });
  }
}
