import { isDeepStrictEqual } from "node:util";
import type { SessionData } from "express-session";
import type { ConflictingValues, ResolveConflict } from "../options/types.ts";

/** The later writer's value stands. */
const takeMine: ResolveConflict = (_key, { mine }) => mine;

type Values = Readonly<Record<string, unknown>>;

/**
 * Brings together what two requests made of one session, key by key at the top level: what only one of them changed,
 * added or deleted is taken from that one, and what both did is left to `resolve`. The cookie is always the later
 * writer's: every request moves its end.
 *
 * Source: three-way merge as in `diff3`; S. Khanna, K. Kunal, B. Pierce, "A Formal Investigation of Diff3", 2007.
 */
export function mergeSessions(
  base: SessionData,
  theirs: SessionData,
  mine: SessionData,
  resolve: ResolveConflict = takeMine,
): SessionData {
  const [was, there, here] = [base, theirs, mine] as unknown as [Values, Values, Values];
  const merged = new Map<string, unknown>();
  for (const key of new Set([...Object.keys(there), ...Object.keys(here)])) {
    const versions = { base: own(was, key), theirs: own(there, key), mine: own(here, key) };
    const value = key === "cookie" ? versions.mine : decide(key, versions, resolve);
    if (value !== undefined) merged.set(key, value);
  }
  // Not by assignment: a key may be called __proto__.
  return Object.fromEntries(merged) as unknown as SessionData;
}

function decide(key: string, versions: ConflictingValues, resolve: ResolveConflict): unknown {
  const { base, theirs, mine } = versions;
  if (isDeepStrictEqual(mine, base)) return theirs;
  if (isDeepStrictEqual(theirs, base) || isDeepStrictEqual(theirs, mine)) return mine;
  return resolve(key, versions);
}

function own(values: Values, key: string): unknown {
  return Object.hasOwn(values, key) ? values[key] : undefined;
}
