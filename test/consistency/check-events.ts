import { CLOCK_SLACK_MS, type Histories } from "./histories.ts";
import type { EventRecord } from "./protocol.ts";
import { isShort } from "./schedule.ts";
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
    // What was carried out at the very moment of a restart, the record may not have heard.
    const isExcused = restarts.some((restart) => restart > at - DELAY_MS && restart < at + 1_000);
    if (isExcused || history.wasNull(at - DELAY_MS, at + CLOCK_SLACK_MS)) continue;
    const text = `node-${node} reported a deletion ${detail}, and the session was there all the time`;
    report({ guarantee: "events", text, sid, from: at - DELAY_MS, to: at });
  }
}
