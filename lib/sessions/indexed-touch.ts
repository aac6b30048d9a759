import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import type { Deadline } from "../redis/deadlines.ts";
import type { Announcement } from "../redis/executor.ts";
import { sha1Of } from "../redis/script.ts";
import type { SessionCommands } from "../redis/session-commands.ts";
import type { ChangedValue, ExpiryChange, SessionTouch } from "../redis/session-values.ts";
import { indexValueOf } from "./index-value.ts";
import { conflictError, MAX_CONFLICTS, type SessionFormat } from "./serializer.ts";

/** A touch with an index. */
export interface IndexedTouch extends SessionTouch {
  readonly indexBy: IndexBy;
  /** The value that Redis probably holds; undefined if unknown. */
  readonly known: string | undefined;
  /** The session in a value of Redis. */
  readonly parse: (value: string) => SessionData | Promise<SessionData>;
  readonly format: SessionFormat;
}

/**
 * Changes when a session expires, together with the index entry of the session *in Redis*: a request that loaded it before the
 * login touches it, too, and the key must not outlive the entry of the user it belongs to by now.
 *
 * If Redis does not hold the known value, the script changes nothing and returns what it holds, and the touch is tried again for
 * that. If the index value of what Redis holds cannot be determined, the touch fails, so that key and entry end together.
 *
 * @throws SessionStoreError `ERR_SESSION_CONFLICT` after MAX_CONFLICTS, `ERR_SESSION_CORRUPT`; what `indexBy` throws
 */
export async function touchIndexed(
  commands: SessionCommands,
  deadline: Deadline,
  { indexBy, known: knownValue, parse, format, ...touch }: IndexedTouch,
  announcement: Announcement | undefined,
): Promise<ExpiryChange> {
  let known: ChangedValue | undefined =
    knownValue === undefined ? undefined : { text: knownValue, sha1: sha1Of(knownValue) };
  let former: string | undefined;
  for (let conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
    const value = known && indexValueOf(indexBy, await parse(known.text));
    const index = { to: value, from: former };
    const unchanged = { ...touch, index, expectedSha1: known?.sha1 };
    const result = await commands.touchUnchanged(deadline, unchanged, announcement);
    if (typeof result === "string") return result;
    known = result;
    former = value;
  }
  throw conflictError(format, touch.sid);
}
