import type { RedisEvent } from "../redis-record.ts";
import { isShort } from "../schedule.ts";
import type { ServerEvent } from "./server-record.ts";

export interface Recorded extends ServerEvent {
  /** The port of the server that it is about. */
  readonly port: number;
}

/** How often it is looked, at least, who is a primary; in milliseconds. */
const LOOK_MS = 100;

/** A session as far as it has been followed. */
interface Followed {
  readonly events: RedisEvent[];
  /** What superseded primaries have answered. */
  readonly answers: RedisEvent[];
  /** The value that counts; null for no session. */
  text: string | null;
  /** The server that carried out the last change. */
  home: number | undefined;
  /** Where the last failover stands among the events, and what the new primary held then. */
  failover?: { readonly index: number; readonly event: RedisEvent; isTold: boolean };
}

/**
 * Makes one history of each session from the records of all servers.
 *
 * 1. What a primary carries out for a client has happened. A slot that moves changes nothing but the place.
 * 2. What a replica carries out after its primary shows, step by step, what it would hold if it were to take over.
 * 3. When it does, that is what the session is from then on. If it is less than the old primary held, the failover has undone
 *    writes, acknowledged ones perhaps: Redis replicates asynchronously. That is a state of its own in the history, and whoever
 *    still shows what was undone is behind it.
 * 4. Writes that an old primary still carries out after that are lost, too; they come before the failover, not after it.
 * 5. A client that does not know its successor yet still reads from it. No client and no store could tell, so what it answers
 *    is noted, and is not held against the store.
 *
 * The clocks of all servers are the same machine's, and a session's primary changes only after the old one's last word, so
 * the order of times is the order of what happened.
 */
export class Lineage {
  /** The port of each server's primary; undefined for one that is a primary. */
  readonly #primaryOf = new Map<number, number | undefined>();
  /** Old primaries, whose successor has been elected. */
  readonly #superseded = new Set<number>();

  /** @returns for each session, in the order of what happened; what is about all first */
  replay(records: readonly Recorded[], sids: readonly string[]): RedisEvent[] {
    const sessions = new Map<string, Followed>(
      sids.map((sid) => [sid, { events: [], answers: [], text: null, home: undefined }]),
    );
    const held = new Map<number, Map<string, string | null>>();
    const heldBy = (port: number) => {
      const values = held.get(port) ?? new Map<string, string | null>();
      held.set(port, values);
      return values;
    };
    const general: RedisEvent[] = [];
    const sorted = [...records].sort((a, b) => a.at - b.at);

    for (const record of sorted) {
      const { kind, port, sid, at } = record;
      if (kind === "killed") general.push({ kind: "killed", sid: "", node: undefined, at });
      if (kind === "role") this.#roleSeen(record, sessions, heldBy(port));
      const session = sessions.get(sid);
      if (session === undefined) continue;
      if (kind === "held") {
        if (record.answer?.text !== undefined) {
          heldBy(port).set(sid, record.answer.text);
          if (session.home === port && this.#primaryOf.get(port) === undefined)
            found(session, record, record.answer.text);
        }
      } else if (kind === "read") {
        if (this.#superseded.has(port)) outdated(session, record, heldBy(port));
      } else if (kind === "left") heldBy(port).set(sid, null);
      else if (kind === "arrived") {
        heldBy(port).set(sid, session.text);
        if (!record.isReplicated) session.home = port;
      } else if (record.isReplicated) heldBy(port).set(sid, kind === "set" ? (record.text ?? null) : null);
      else {
        // Only a primary carries out what a client asks for.
        if (this.#primaryOf.get(port) !== undefined)
          this.#tookOver(port, at, at - LOOK_MS, sessions, heldBy(port));
        if (this.#superseded.has(port)) undone(session, record, heldBy(port));
        else carriedOut(session, record, heldBy(port));
      }
    }
    return [...general, ...[...sessions.values()].flatMap(({ events, answers }) => [...events, ...answers])];
  }

  #roleSeen(
    { port, primaryPort, at, notBefore = at }: Recorded,
    sessions: Map<string, Followed>,
    held: Map<string, string | null>,
  ): void {
    const wasReplica = this.#primaryOf.get(port) !== undefined;
    if (primaryPort === undefined && wasReplica) this.#tookOver(port, at, notBefore, sessions, held);
    else if (primaryPort !== undefined) {
      this.#primaryOf.set(port, primaryPort);
      this.#superseded.delete(port);
    } else if (!this.#primaryOf.has(port)) this.#primaryOf.set(port, undefined);
  }

  #tookOver(
    port: number,
    seenAt: number,
    at: number,
    sessions: Map<string, Followed>,
    held: Map<string, string | null>,
  ): void {
    const before = this.#primaryOf.get(port);
    this.#primaryOf.set(port, undefined);
    this.#superseded.delete(port);
    if (before !== undefined) this.#superseded.add(before);
    for (const [sid, session] of sessions) {
      if (session.home !== before && session.home !== undefined) continue;
      if (session.home === before) session.home = port;
      const text = held.get(sid) ?? null;
      const event: RedisEvent = {
        kind: "failover",
        sid,
        ...(text !== null && { text }),
        node: undefined,
        at,
        seenAt,
      };
      session.failover = { index: session.events.length, event, isTold: false };
      // That its time was over is no news.
      const isOver = text === null && isShort(sid);
      if (text !== session.text && !isOver) tell(session);
    }
  }
}

/** Writes the failover into the history. */
function tell(session: Followed): void {
  const { failover } = session;
  if (failover === undefined || failover.isTold) return;
  failover.isTold = true;
  session.events.splice(failover.index, 0, failover.event);
  if (session.events.length === failover.index + 1) session.text = failover.event.text ?? null;
}

function carriedOut(session: Followed, record: Recorded, held: Map<string, string | null>): void {
  if (record.mustExist && session.text === null) return;
  session.text = record.kind === "set" ? (record.text ?? null) : null;
  session.home = record.port;
  held.set(record.sid, session.text);
  session.events.push(eventOf(record));
}

/** A primary is only asked after nobody had listened to it: what it did meanwhile is seen by what it holds. */
function found(session: Followed, record: Recorded, text: string | null): void {
  if (text === session.text || (text === null && isShort(record.sid))) return;
  session.text = text;
  const { sid, at } = record;
  const kind = text === null ? "del" : "set";
  session.events.push({ kind, sid, ...(text !== null && { text }), node: undefined, at });
}

/** Carried out by a primary that had been superseded already. */
function undone(session: Followed, record: Recorded, held: Map<string, string | null>): void {
  if (!record.mustExist || held.get(record.sid) != null) {
    held.set(record.sid, record.kind === "set" ? (record.text ?? null) : null);
  }
  if (session.failover === undefined) return;
  tell(session);
  session.events.splice(session.failover.index, 0, eventOf(record));
  session.failover = { ...session.failover, index: session.failover.index + 1 };
}

/** A superseded primary has answered a read. It is an event of its own kind, apart from the order of the others. */
function outdated(session: Followed, { sid, node, at }: Recorded, held: Map<string, string | null>): void {
  const text = held.get(sid) ?? undefined;
  session.answers.push({ kind: "outdated", sid, ...(text !== undefined && { text }), node, at });
}

function eventOf({ kind, sid, text, node, at }: Recorded): RedisEvent {
  return {
    kind: kind === "set" ? "set" : "del",
    sid,
    ...(text !== undefined && { text }),
    node,
    at,
  };
}
