import { warnOnce } from "../reporting/warnings.ts";

/**
 * The longest `ttl`, in seconds: 285,000 years. Redis adds it to the present time in milliseconds, as a signed 64-bit
 * integer, and refuses the command on overflow; beyond this value JavaScript cannot represent whole milliseconds.
 */
export const MAX_TTL_S: number = Math.floor(Number.MAX_SAFE_INTEGER / 1_000);

/** The longest lifetime of a cookie that browsers accept (RFC 6265bis, §5.5), in seconds: 400 days. */
const MAX_COOKIE_AGE_S = 400 * 86_400;

/** Warns of a `ttl` in seconds that is longer than any cookie lives: a number of milliseconds, probably. */
export function warnOfLongTtl(seconds: number): void {
  if (seconds <= MAX_COOKIE_AGE_S) return;
  const days = Math.round(seconds / 86_400);
  warnOnce(
    "WARN_TTL_IN_MILLISECONDS",
    "",
    `ttl: ${seconds} seconds are ${days} days, more than the 400 days that browsers keep a cookie.`,
    `ttl is in seconds; divide a number of milliseconds, such as cookie.maxAge, by 1000: ttl: ${seconds / 1_000}. For sessions that never expire, set disableTTL.`,
  );
}
