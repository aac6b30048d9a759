import { isDeepStrictEqual } from "node:util";
import type { Cookie, SessionData } from "express-session";
import type { Serializer } from "../options/types.ts";
import { isSameMaxAge } from "./lifetime.ts";

const COOKIE_FIRST = '{"cookie":{';

/**
 * Whether two JSON texts may be equal but for the cookie's expiry, without parsing. A date is as long as any other, so most
 * changes show in the length. express-session puts the cookie first; a brace within its text only yields a no too many,
 * and that session is then written once too often.
 */
function mayBeUnchanged(base: string, text: string): boolean {
  if (base.length !== text.length) return false;
  if (!base.startsWith(COOKIE_FIRST) || !text.startsWith(COOKIE_FIRST)) return true;
  const end = text.indexOf("}", COOKIE_FIRST.length);
  return base.slice(end) === text.slice(end);
}

/**
 * Whether two texts are the same session but for the cookie's expiry; a promise if the serializer is asynchronous.
 * @param parse the session in a text
 */
export function isSameSession(
  base: string,
  text: string,
  serializer: Serializer,
  parse: (text: string) => SessionData | Promise<SessionData>,
): boolean | Promise<boolean> {
  if (serializer === JSON && !mayBeUnchanged(base, text)) return false;
  if (base === text) return true;
  try {
    const was = parse(base);
    const is = parse(text);
    if (!(was instanceof Promise || is instanceof Promise)) return isUnchanged(was, is);
    const compare = ([before, after]: SessionData[]) =>
      isUnchanged(before as SessionData, after as SessionData);
    return Promise.all([was, is]).then(compare, () => false);
  } catch {
    // A session that cannot be read back is no reason to refuse the one that replaces it.
    return false;
  }
}

/** Whether two sessions are equal but for the cookie's expiry: every request moves that. Changes `before`. */
function isUnchanged(before: SessionData, after: SessionData): boolean {
  if (before.cookie && after.cookie) alignCookie(before.cookie, after.cookie);
  return isDeepStrictEqual(before, after);
}

/** Gives `before` the expiry of `after`, and its age if the two differ by rounding only. */
function alignCookie(before: Cookie, after: Cookie): void {
  before.expires = after.expires;
  if (isSameMaxAge(before.originalMaxAge, after.originalMaxAge)) before.originalMaxAge = after.originalMaxAge;
}
