import { isSid, MAX_SID_LENGTH } from "../invalidation/messages.ts";
import { describeValue, optionError } from "../reporting/errors.ts";

/** @throws TypeError; it does not show a string that may be a session id */
export function checkSid(sid: unknown): asserts sid is string {
  if (isSid(sid)) return;
  const expected = `a string of 1 to ${MAX_SID_LENGTH} characters`;
  if (typeof sid !== "string" || sid === "") throw optionError("sid", expected, sid);
  const got = sid.length > MAX_SID_LENGTH ? `${sid.length} characters` : "a string with a lone surrogate";
  throw optionError("sid", expected, sid, got);
}

/** @throws TypeError */
export function checkSession(session: unknown): void {
  if (session !== null && typeof session === "object") return;
  throw new TypeError(`session: expected an object, got ${describeValue(session)}`);
}
