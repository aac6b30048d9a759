import { isDeepStrictEqual } from "node:util";
import type { SessionData } from "express-session";
import type { ConflictingValues, ResolveConflict } from "../options/types.ts";
import type { SessionSave } from "../redis/session-values.ts";
import { describeReturned } from "../reporting/errors.ts";
import { isSameMaxAge } from "./lifetime.ts";
import { isPromise } from "./stored-session.ts";

/** A write over a value that is expected in Redis; it is merged with whatever else is there. */
export interface SessionMerge {
  readonly sid: string;
  /** The value that Redis held when this process last saw it. */
  readonly expected: string;
  /** What to write over `current`; for `expected`, at first. */
  readonly propose: (current: string) => MergeProposal | Promise<MergeProposal>;
  /** Called before each attempt: Redis may execute it even if it seems to fail. */
  readonly onAttempt: (text: string, value: string) => void;
}

/** A session to be written, before the codec encodes its text. */
export interface UnencodedSave extends Omit<SessionSave, "value"> {
  readonly text: string;
}

export type MergeProposal = Pick<UnencodedSave, "text" | "ttlMs" | "index">;

type Values = Readonly<Record<string, unknown>>;

/** The later writer's value stands. */
const takeOurs: ResolveConflict = (_key, { mine }) => mine;

/**
 * Merges what two requests made of one session, key by key at the top level: what only one of them changed, added or
 * deleted is taken from that one, and what both changed is left to `resolve`. The cookie is merged likewise; its expiry is
 * the later writer's, since every request moves that.
 *
 * Source: three-way merge as in `diff3`; S. Khanna, K. Kunal, B. Pierce, "A Formal Investigation of Diff3", 2007.
 */
export function mergeSessions(
  base: SessionData,
  theirs: SessionData,
  ours: SessionData,
  resolve: ResolveConflict = takeOurs,
): SessionData {
  const resolveKey: ResolveConflict = (key, versions) =>
    key === "cookie" ? mergeCookies(versions) : requireValue(resolve(key, versions));
  return mergeKeys(base, theirs, ours, resolveKey) as unknown as SessionData;
}

/** @throws TypeError for what an asynchronous function returns: JSON would make an empty object of it */
function requireValue(value: unknown): unknown {
  if (!isPromise(value)) return value;
  throw new TypeError(`resolveConflict: the function must return a value, got ${describeReturned(value)}`);
}

function mergeKeys(base: object, theirs: object, ours: object, resolve: ResolveConflict): Values {
  const merged = new Map<string, unknown>();
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(ours)])) {
    const versions = { base: own(base, key), theirs: own(theirs, key), mine: own(ours, key) };
    const value = decide(key, versions, resolve);
    if (value !== undefined) merged.set(key, value);
  }
  // Not by assignment: a key may be called __proto__.
  return Object.fromEntries(merged);
}

function decide(key: string, versions: ConflictingValues, resolve: ResolveConflict): unknown {
  const { base, theirs, mine } = versions;
  if (isDeepStrictEqual(mine, base)) return theirs;
  if (isDeepStrictEqual(theirs, base) || isDeepStrictEqual(theirs, mine)) return mine;
  return resolve(key, versions);
}

function mergeCookies({ base, theirs, mine }: ConflictingValues): unknown {
  if (!isObject(base) || !isObject(theirs) || !isObject(mine)) return mine;
  const maxAge = base["originalMaxAge"];
  // A millisecond that express-session has lost is no change, which would undo that of the other request.
  const ours = isSameMaxAge(mine["originalMaxAge"], maxAge) ? { ...mine, originalMaxAge: maxAge } : mine;
  const merged = { ...mergeKeys(base, theirs, ours, takeOurs) };
  if (isSameMaxAge(merged["originalMaxAge"], ours["originalMaxAge"])) merged["expires"] = ours["expires"];
  else merged["expires"] = expiresAfter(merged["originalMaxAge"], theirs["expires"]);
  return merged;
}

/** The expiry of a lifetime that the other request has set, counted from now, in the format that it has. */
function expiresAfter(maxAge: unknown, expires: unknown): unknown {
  if (typeof maxAge !== "number") return expires;
  const time = new Date(Date.now() + maxAge);
  return expires instanceof Date ? time : time.toISOString();
}

function isObject(value: unknown): value is Values {
  return value !== null && typeof value === "object";
}

function own(values: object, key: string): unknown {
  return Object.hasOwn(values, key) ? (values as Values)[key] : undefined;
}
