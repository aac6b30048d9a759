import type { SessionData } from "express-session";

/**
 * A session with a cookie that express-session can work with: its own, or else one that says nothing, so that the defaults
 * hold. express-session throws for a session without a cookie, and later for ages that are no numbers.
 */
export function withValidCookie(data: SessionData): SessionData {
  if (isValidCookie((data as SessionData | null | undefined)?.cookie)) return data;
  return { ...data, cookie: { originalMaxAge: null } };
}

function isValidCookie(cookie: unknown): boolean {
  if (cookie === null || typeof cookie !== "object" || Array.isArray(cookie)) return false;
  const { originalMaxAge, maxAge, expires } = cookie as Record<string, unknown>;
  return (
    isAge(originalMaxAge) &&
    isAge(maxAge) &&
    isExpiry(expires) &&
    !METHODS.some((name) => Object.hasOwn(cookie, name))
  );
}

function isAge(value: unknown): boolean {
  return value === undefined || value === null || typeof value === "number";
}

function isExpiry(value: unknown): boolean {
  if (!value) return true;
  return !Number.isNaN(new Date(value as string | number | Date).getTime());
}

/** express-session copies all keys of the cookie, over its methods and its prototype, too. */
const METHODS = ["serialize", "toJSON", "__proto__"];
