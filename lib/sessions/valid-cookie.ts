import type { Cookie, SessionData } from "express-session";

/**
 * A session with a cookie that express-session can work with: its own, or else one that says nothing, so that the defaults
 * hold. express-session throws for a session without a cookie, and later for ages that are no numbers.
 *
 * What express-session makes of the cookie is checked by `hasUsableCookie`.
 */
export function withValidCookie(data: SessionData): SessionData {
  return isValidCookie((data as SessionData | null | undefined)?.cookie) ? data : withNewCookie(data);
}

/**
 * Whether a session's cookie can be sent: a text in `expires` was a date, and nothing else is such that express-session fails
 * when the response has begun.
 */
export function hasUsableCookie({ cookie }: SessionData): boolean {
  const { expires, path, domain, sameSite, priority } = cookie as Cookie & { priority?: unknown };
  if (expires instanceof Date && Number.isNaN(expires.getTime())) return false;
  // Most are like this, and serializing costs a microsecond.
  if (path === "/" && domain === undefined && priority === undefined && USUAL.has(sameSite)) return true;
  try {
    (cookie as Cookie & { serialize(name: string, value: string): string }).serialize("name", "value");
    return true;
  } catch {
    return false;
  }
}

const USUAL: ReadonlySet<unknown> = new Set([undefined, null, false, true, "lax", "strict", "none"]);

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
      Object.hasOwn(cookie, "_expires") ||
      Object.hasOwn(cookie, "__proto__")
    )
  );
}

/** Added to the present time, it is still a time that a Date can hold. */
const MAX_AGE = 4e15;

/** Like express-session, which takes each falsy value for none: `cookie: { expires: false }` stores `originalMaxAge: false`. */
function isAge(value: unknown): boolean {
  return !value || (typeof value === "number" && Math.abs(value) <= MAX_AGE);
}

function isExpiry(value: unknown): boolean {
  if (!value || typeof value === "string") return true;
  return !Number.isNaN(new Date(value as number | Date).getTime());
}
