/**
 * What went wrong, for programs:
 * - `ERR_SESSION_TIMEOUT`: no answer within `commandTimeoutMs`. A write may still be carried out.
 * - `ERR_SESSION_REDIS`: Redis or the client refused or failed; `cause` is their error.
 * - `ERR_SESSION_CORRUPT`: the value in Redis could not be parsed; it is left as it is. `cause` is the parser's error.
 * - `ERR_SESSION_SERIALIZE`: the session could not be made into a string; nothing was written.
 * - `ERR_SESSION_CONFLICT`: others kept writing the session faster than this write could be merged; nothing was written.
 * - `ERR_SUBSCRIPTION`: the subscription could not be opened, or was lost.
 */
export type SessionStoreErrorCode =
  | "ERR_SESSION_TIMEOUT"
  | "ERR_SESSION_REDIS"
  | "ERR_SESSION_CORRUPT"
  | "ERR_SESSION_SERIALIZE"
  | "ERR_SESSION_CONFLICT"
  | "ERR_SUBSCRIPTION";

/**
 * Every failure that is not a caller's mistake (those are TypeErrors). Its `code` is never the cause's: express-session
 * takes `ENOENT`, a missing Redis socket, for "this session does not exist" and would log everybody out.
 */
export class SessionStoreError extends Error {
  /** The class, for logs. */
  override readonly name = "SessionStoreError";
  /** What went wrong, for programs. */
  readonly code: SessionStoreErrorCode;

  constructor(code: SessionStoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** The words of an error, or of whatever else was thrown. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message || cause.name : String(cause);
}

/** How a wrong value is shown in an error: its text if that is short, else its type. */
export function shown(value: unknown): string {
  if (typeof value === "string") return value.length <= 60 ? JSON.stringify(value) : "a string";
  if (value === null || typeof value !== "object") {
    return typeof value === "function" ? "a function" : String(value);
  }
  return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "no prototype"})`;
}

/** What is to be added to an error in which Redis refuses for want of a right: Redis says what failed, not what to allow. */
export function rightsFor(reason: string, rights: () => string): string {
  return REFUSALS.test(reason) ? ` (needed: ${rights()})` : "";
}

/** In a script Redis 6 and 7.0 say it in other words. */
const REFUSALS = /NOPERM|ACL failure|can't (run this command|access at least one|publish to the channel)/;
