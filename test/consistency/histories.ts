import type { OperationRecord } from "./protocol.ts";
import type { RedisEvent } from "./redis-record.ts";
import { type KeyEnd, SessionHistory, type State } from "./session-history.ts";

/** How far a time of Redis's clock may be off, in milliseconds. */
export const CLOCK_SLACK_MS = 5;

/** What all is known of one round's sessions, put together. */
export interface Histories {
  readonly sessions: ReadonlyMap<string, SessionHistory>;
  /** Of each session; those that concern no single one are under the empty id. */
  readonly operations: ReadonlyMap<string, readonly OperationRecord[]>;
  /** The state that each acknowledged write of a node brought about, or that a destroy left. */
  readonly indexOf: ReadonlyMap<OperationRecord, number>;
  /** The states that were brought about by writes that had been carried out before. */
  readonly repeats: readonly State[];
  readonly restarts: readonly number[];
}

/**
 * Plays what Redis carried out over again, and finds for each change the operation that it was for.
 * @param isTracked nodes are told of what others write, too
 */
export function buildHistories(
  sids: readonly string[],
  operations: readonly OperationRecord[],
  events: readonly RedisEvent[],
  isTracked = false,
): Histories {
  const sessions = new Map(sids.map((sid) => [sid, new SessionHistory(sid)]));
  const bySid = new Map<string, OperationRecord[]>([...sids, ""].map((sid) => [sid, []]));
  const writers = new Writers();
  const bans: OperationRecord[] = [];
  const clears: OperationRecord[] = [];
  for (const operation of operations) {
    bySid.get(operation.sid)?.push(operation);
    const { kind } = operation;
    writers.add(operation);
    if (kind === "clear") clears.push(operation);
    if (kind === "ban") bans.push(operation);
  }
  const indexOf = new Map<OperationRecord, number>();
  const repeats: State[] = [];
  const restarts: number[] = [];

  for (const event of events) {
    if (event.kind === "restart" || event.kind === "killed") restarts.push(event.at);
    if (event.kind === "killed") continue;
    if (event.kind === "restart" || event.kind === "flush") {
      for (const history of sessions.values()) {
        const isSilent = event.kind === "flush" && !isTracked;
        if (history.last.value !== null) {
          history.push({ ...gone(event, event.seenAt ?? event.at), isSilent });
        }
      }
      continue;
    }
    const history = sessions.get(event.sid);
    if (history === undefined) continue;
    if (event.kind === "failover") {
      const written = event.text === undefined ? undefined : writtenIn(event.text);
      history.push({
        value: written?.v ?? null,
        text: event.text,
        at: event.at,
        knownAt: event.seenAt ?? event.at,
        by: written && writers.of(written, undefined),
        cause: "failover",
        isSilent: false,
        owner: written?.u,
      });
      continue;
    }
    if (event.kind === "outdated") {
      const value = event.text === undefined ? null : writtenIn(event.text).v;
      history.outdated.push({ node: event.node, value, at: event.at });
      continue;
    }
    if (event.kind === "expire") {
      if (history.last.value !== null) history.expires(endOf(event));
      continue;
    }
    if (event.kind === "set") {
      if (event.mustExist && history.last.value === null) continue;
      const written = writtenIn(event.text as string);
      const by = writers.of(written, event.node);
      history.push({
        ...stateOf(event, written.v, by),
        isSilent: by === undefined && event.node === undefined && !isTracked,
        owner: written.u,
      });
      if (event.ttlMs !== undefined) history.expires(endOf(event));
      if (by !== undefined && !indexOf.has(by)) indexOf.set(by, history.last.index);
      else if (by !== undefined && event.node !== undefined) repeats.push(history.last);
      continue;
    }
    const by = deleterOf(event, history.last.owner, bySid.get(event.sid) ?? [], bans, clears);
    if (history.last.value !== null) {
      const isSilent = event.node === undefined && !isTracked;
      history.push({ ...gone(event, acknowledgedAt(by) ?? event.at), isSilent, by });
    }
    if (by !== undefined && isDeletion(by)) indexOf.set(by, history.last.index);
  }
  return { sessions, operations: bySid, indexOf, repeats, restarts };
}

/** Finds whose write a value is. */
class Writers {
  readonly #writes = new Map<string, OperationRecord[]>();

  add(operation: OperationRecord): void {
    const { version, stamp } = operation;
    if (version === undefined) return;
    const key = keyOf(version, stamp);
    const writes = this.#writes.get(key);
    if (writes === undefined) this.#writes.set(key, [operation]);
    else writes.push(operation);
  }

  /**
   * Undefined for a write of a process that was killed before it could report it.
   * @param node whose connection the value came by, if that is known
   */
  of({ v, cookie }: Written, node: number | undefined): OperationRecord | undefined {
    const writes = this.#writes.get(keyOf(v, cookie.expires)) ?? this.#writes.get(keyOf(v, undefined));
    return writes?.find((write) => node === undefined || write.node === node);
  }
}

function keyOf(version: number, stamp: string | undefined): string {
  return `${version} ${stamp}`;
}

export function acknowledgedAt(operation: OperationRecord | undefined): number | undefined {
  return operation?.error === undefined ? operation?.answeredAt : undefined;
}

/** The keys of a session that were added by saves. */
export function keysIn(text: string): string[] {
  return Object.keys(JSON.parse(text) as object).filter((key) => /^k\d+$/.test(key));
}

/** What the checker looks at in a value. */
interface Written {
  readonly v: number;
  readonly u?: string;
  readonly cookie: { readonly expires: string };
}

function writtenIn(text: string): Written {
  return JSON.parse(text) as Written;
}

function endOf({ at, node, ttlMs = Number.NaN }: RedisEvent): KeyEnd {
  return { at, endsAt: at + ttlMs, node };
}

function stateOf(
  event: RedisEvent,
  value: number,
  by: OperationRecord | undefined,
): Omit<State, "index" | "isSilent"> {
  return {
    value,
    text: event.text,
    at: event.at,
    knownAt: acknowledgedAt(by) ?? event.at,
    by,
    cause: event.kind,
  };
}

function gone(event: RedisEvent, knownAt: number): Omit<State, "index" | "isSilent"> {
  return { value: null, text: undefined, at: event.at, knownAt, by: undefined, cause: event.kind };
}

/** Whether it deletes the session that it names; `regenerate` does so first. */
export function isDeletion({ kind }: OperationRecord): boolean {
  return kind === "destroy" || kind === "regenerate";
}

/** If it may be one of several, then the one that was answered last: what is claimed must be certain. */
function deleterOf(
  { node, at }: RedisEvent,
  owner: string | undefined,
  operations: readonly OperationRecord[],
  bans: readonly OperationRecord[],
  clears: readonly OperationRecord[],
): OperationRecord | undefined {
  if (node === undefined) return undefined;
  const end = ({ answeredAt, error }: OperationRecord) =>
    error === undefined ? (answeredAt ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
  const mayBe = (operation: OperationRecord) =>
    operation.node === node &&
    operation.invokedAt <= at + CLOCK_SLACK_MS &&
    end(operation) >= at - CLOCK_SLACK_MS;
  const last = (found: OperationRecord | undefined, next: OperationRecord) =>
    found === undefined || end(next) > end(found) ? next : found;
  const destroys = operations.filter((operation) => isDeletion(operation) && mayBe(operation));
  const sweeps = operations.filter((operation) => operation.kind === "sweep" && mayBe(operation));
  const found =
    destroys.reduce(last, undefined) ??
    clears.filter(mayBe).reduce(last, undefined) ??
    sweeps.reduce(last, undefined);
  if (found !== undefined) return found;
  const mayBan = (ban: OperationRecord) => mayBe(ban) && ban.owner === owner;
  return bans.filter(mayBan).reduce(last, undefined) ?? bans.filter(mayBe).reduce(last, undefined);
}
