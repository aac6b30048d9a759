import type { SessionData } from "express-session";
import type { SessionTtl } from "../options/types.ts";
import { describeValue } from "../reporting/errors.ts";

/**
 * How long `session` is to live from now on, in milliseconds; 0 or less is the wish to delete it.
 *
 * A `ttl` function decides alone. Otherwise the cookie's `expires` does, and without one the `ttl` in seconds. An
 * `expires` in the past while `originalMaxAge` is positive was not set by the application (setting it sets
 * `originalMaxAge`, too): it has only become old, because requests that touched the session did not rewrite it, and the
 * session gets its `originalMaxAge` anew.
 *
 * @throws TypeError when the ttl function or the cookie's `expires` gives no number: guessing would lose a session
 */
export function lifetimeMs(session: SessionData, ttl: SessionTtl, now: number): number {
  if (typeof ttl === "function") {
    const seconds: unknown = ttl(session);
    if (typeof seconds === "number" && Number.isFinite(seconds)) return wholeMs(seconds * 1000);
    throw new TypeError(`ttl: the function must return a number of seconds, got ${describeValue(seconds)}`);
  }
  const expires: unknown = session?.cookie?.expires;
  if (!expires) return wholeMs(ttl * 1000);
  const left = new Date(expires as string | number | Date).getTime() - now;
  if (Number.isNaN(left)) {
    throw new TypeError(`session.cookie.expires: expected a date, got ${describeValue(expires)}`);
  }
  const { originalMaxAge } = session.cookie;
  return left <= 0 && typeof originalMaxAge === "number" && originalMaxAge > 0
    ? wholeMs(originalMaxAge)
    : left;
}

/** Redis takes whole milliseconds; a fraction of the first must not become the wish to delete, nor noise a whole one. */
function wholeMs(ms: number): number {
  const whole = Math.ceil(ms - 1e-6);
  return whole <= 0 && ms > 0 ? 1 : whole;
}

/** The last moment that a Date can tell, in milliseconds since 1970. */
const LAST_DATE = 8.64e15;

/**
 * Sets the cookie's `expires` to the time at which the key really expires, in the type and format that it has: the value
 * keeps the time of its last write, and each touch leaves that further behind (connect-redis #259).
 */
export function alignExpires(session: unknown, expiresAt: number | undefined): void {
  const cookie = (session as { cookie?: { expires?: unknown } } | null)?.cookie;
  if (expiresAt === undefined || expiresAt > LAST_DATE || cookie === null || typeof cookie !== "object")
    return;
  const { expires } = cookie;
  if (typeof expires === "string") cookie.expires = new Date(expiresAt).toISOString();
  else if (typeof expires === "number") cookie.expires = expiresAt;
  else if (expires instanceof Date) cookie.expires = new Date(expiresAt);
}

/** The default of `touchAfterMs`: a hundredth of the session's life, a minute at most. */
export function touchWindowMs(lifetime: number): number {
  return Math.min(lifetime / 100, 60_000);
}
