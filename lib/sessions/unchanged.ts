import { isDeepStrictEqual } from "node:util";
import type { Cookie, SessionData } from "express-session";

/** express-session's `touch` loses a millisecond of `originalMaxAge` now and then. */
const MAX_AGE_ROUNDING_MS = 10;

const COOKIE_FIRST = '{"cookie":{';

/**
 * Whether two JSON texts may be equal but for the cookie's expiry, without parsing. A date is as long as any other, so most
 * changes show in the length. express-session puts the cookie first; a brace within its text only yields a no too many,
 * and that session is then written once too often.
 */
export function mayBeUnchanged(base: string, text: string): boolean {
  if (base.length !== text.length) return false;
  if (!base.startsWith(COOKIE_FIRST) || !text.startsWith(COOKIE_FIRST)) return true;
  const end = text.indexOf("}", COOKIE_FIRST.length);
  return base.slice(end) === text.slice(end);
}

/** Whether two sessions are equal but for the cookie's expiry: every request moves that. Changes `before`. */
export function isUnchanged(before: SessionData, after: SessionData): boolean {
  if (before.cookie && after.cookie) alignCookie(before.cookie, after.cookie);
  return isDeepStrictEqual(before, after);
}

/** Gives `before` the expiry of `after`, and its age if the two differ by rounding only. */
function alignCookie(before: Cookie, after: Cookie): void {
  before.expires = after.expires;
  const lost = (before.originalMaxAge ?? Number.NaN) - (after.originalMaxAge ?? Number.NaN);
  if (Math.abs(lost) <= MAX_AGE_ROUNDING_MS) before.originalMaxAge = after.originalMaxAge;
}
