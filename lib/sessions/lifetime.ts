import type { SessionData } from "express-session";
import { MAX_TTL_S, warnOfLongTtl } from "../options/ttl.ts";
import type { SessionTtl } from "../options/types.ts";
import { describeReturned, describeValue } from "../reporting/errors.ts";

/**
 * How long `session` lives from now on, in milliseconds; 0 or less means to delete it.
 *
 * A `ttl` function decides alone. Otherwise the cookie's `expires` does, and without one the `ttl` in seconds. An
 * `expires` in the past with a positive `originalMaxAge` was not set by the application (that would set
 * `originalMaxAge`, too). It is out of date, because requests that touched the session did not rewrite it, and the
 * session gets its `originalMaxAge` again.
 *
 * @throws TypeError if the ttl function or the cookie's `expires` yields no number: a guess could lose a session
 */
export function lifetimeMs(session: SessionData, ttl: SessionTtl, now: number): number {
  if (typeof ttl === "function") {
    const seconds: unknown = ttl(session);
    if (typeof seconds === "number" && Number.isFinite(seconds) && seconds <= MAX_TTL_S) {
      warnOfLongTtl(seconds);
      return wholeMs(seconds * 1000);
    }
    throw new TypeError(
      `ttl: the function must return a number of seconds, got ${describeReturned(seconds)}`,
    );
  }
  const expires: unknown = session?.cookie?.expires;
  if (!expires) return wholeMs(ttl * 1000);
  const time = expires instanceof Date ? expires.getTime() : new Date(expires as string | number).getTime();
  const left = time - now;
  if (Number.isNaN(left)) {
    const got = expires instanceof Date ? "an invalid one" : describeValue(expires);
    throw new TypeError(`session.cookie.expires: expected a date, got ${got}`);
  }
  const { originalMaxAge } = session.cookie;
  return left <= 0 && typeof originalMaxAge === "number" && originalMaxAge > 0
    ? wholeMs(originalMaxAge)
    : left;
}

/** express-session's `touch` loses a millisecond of `originalMaxAge` now and then. */
const MAX_AGE_ROUNDING_MS = 10;

/** Whether two values of `originalMaxAge` are equal but for rounding. */
export function isSameMaxAge(one: unknown, other: unknown): boolean {
  if (typeof one !== "number" || typeof other !== "number") return one === other;
  return Math.abs(one - other) <= MAX_AGE_ROUNDING_MS;
}

/** Redis takes whole milliseconds. A fraction of the first must not delete the session, nor rounding noise add one. */
function wholeMs(ms: number): number {
  const whole = Math.ceil(ms - 1e-6);
  return whole <= 0 && ms > 0 ? 1 : whole;
}

/** The latest time that a Date can hold, in milliseconds since 1970. */
const MAX_DATE = 8.64e15;

/**
 * Sets the cookie's `expires` to the key's real expiry, in the type and format that it has: the value in Redis keeps the
 * time of its last write, and each touch leaves that further behind (connect-redis #259).
 * @param expiresAt by performance.now(); undefined for never
 */
export function alignExpires(session: unknown, expiresAt: number | undefined): void {
  const cookie = (session as { cookie?: { expires?: unknown } } | null)?.cookie;
  if (expiresAt === undefined || cookie === null || typeof cookie !== "object") return;
  const time = Math.round(Date.now() + expiresAt - performance.now());
  if (time > MAX_DATE) return;
  const { expires } = cookie;
  if (typeof expires === "string") cookie.expires = new Date(time).toISOString();
  else if (typeof expires === "number") cookie.expires = time;
  else if (expires instanceof Date) cookie.expires = new Date(time);
}

/**
 * When a request last gave a session its lifetime, in milliseconds since 1970: its key's expiry, less that lifetime.
 * @param expiresAt the key's expiry, since 1970
 * @returns undefined if no request gives it any
 */
export function lastActiveAt(session: SessionData, ttl: SessionTtl, expiresAt: number): number | undefined {
  const { expires, originalMaxAge } = session.cookie ?? {};
  let lifetime: number | null | undefined;
  if (typeof ttl === "number") lifetime = expires ? originalMaxAge : ttl * 1000;
  else {
    try {
      lifetime = lifetimeMs(session, ttl, Date.now());
    } catch {
      // A listing does not fail because of one session.
    }
  }
  return typeof lifetime === "number" ? Math.min(expiresAt - lifetime, Date.now()) : undefined;
}

/**
 * By how much a touch must extend a session's lifetime to be sent. Never more than half of it, or a session in use would end.
 * @param touchAfterMs the option; by default a hundredth of the session's lifetime, at most a minute
 */
export function touchWindowMs(lifetime: number, touchAfterMs?: number): number {
  return touchAfterMs === undefined ? Math.min(lifetime / 100, 60_000) : Math.min(lifetime / 2, touchAfterMs);
}
