import type { SessionData } from "express-session";

/**
 * A session with a cookie that express-session can work with: its own, or else one that says nothing, so that the defaults
 * hold. express-session throws for a session without a cookie, and later for ages that are no numbers.
 *
 * A text in `expires` is not parsed here but by express-session: see `hasInvalidExpiry`.
 */
export function withValidCookie(data: SessionData): SessionData {
  return isValidCookie((data as SessionData | null | undefined)?.cookie) ? data : withNewCookie(data);
}

/** Whether the text in `expires`, of which express-session has made a Date, was no date. */
export function hasInvalidExpiry({ cookie: { expires } }: SessionData): boolean {
  return expires instanceof Date && Number.isNaN(expires.getTime());
}

export function withNewCookie(data: SessionData): SessionData {
  return { ...data, cookie: { originalMaxAge: null } };
}

function isValidCookie(cookie: unknown): boolean {
  if (cookie === null || typeof cookie !== "object" || Array.isArray(cookie)) return false;
  const { originalMaxAge, maxAge, expires } = cookie as Record<string, unknown>;
  return (
    isAge(originalMaxAge) &&
    isAge(maxAge) &&
    isExpiry(expires) &&
    // express-session copies all keys of the cookie, over its methods and its prototype, too.
    !(
      Object.hasOwn(cookie, "serialize") ||
      Object.hasOwn(cookie, "toJSON") ||
      Object.hasOwn(cookie, "__proto__")
    )
  );
}

function isAge(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "number";
}

function isExpiry(value: unknown): boolean {
  if (!value || typeof value === "string") return true;
  return !Number.isNaN(new Date(value as number | Date).getTime());
}
