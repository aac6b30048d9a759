/**
 * The kind of failure:
 * - `ERR_SESSION_TIMEOUT`: no reply within `commandTimeoutMs`. Redis may still execute a write.
 * - `ERR_SESSION_UNAVAILABLE`: Redis is known to be away, or too many operations are unanswered. Nothing was sent.
 * - `ERR_SESSION_REDIS`: Redis or the client failed or refused the command; `cause` is its error.
 * - `ERR_SESSION_CORRUPT`: the value in Redis is not a session; it is not modified.
 * - `ERR_SESSION_SERIALIZE`: the session cannot be serialized; nothing was written.
 * - `ERR_SESSION_CONFLICT`: each attempt met another writer. A save with `onConflict: "merge"` and a touch with `indexBy` have
 *   written nothing; `destroyWhere` and `destroyAllOf` have deleted all other sessions, but not this one.
 * - `ERR_SUBSCRIPTION`: the subscription could not be opened, or was lost.
 * - `ERR_TRACKING`: `cluster.tracking` is not in use; everything else works as without it.
 */
export type SessionStoreErrorCode =
  | "ERR_SESSION_TIMEOUT"
  | "ERR_SESSION_UNAVAILABLE"
  | "ERR_SESSION_REDIS"
  | "ERR_SESSION_CORRUPT"
  | "ERR_SESSION_SERIALIZE"
  | "ERR_SESSION_CONFLICT"
  | "ERR_SUBSCRIPTION"
  | "ERR_TRACKING";

/**
 * Every failure except a wrong option or argument, which is a TypeError. Its `code` is never that of its cause:
 * express-session interprets `ENOENT` (a missing Redis socket) as "no such session" and would log every user out.
 */
export class SessionStoreError extends Error {
  /** The name of the class. */
  override readonly name = "SessionStoreError";
  /** The kind of failure. */
  readonly code: SessionStoreErrorCode;
  /**
   * The key in Redis, if the failure concerns a single session. It is not enumerable, so that neither Express nor a logger
   * shows it: it contains the session id, which gives access to the session. The message has a hash of the id instead.
   */
  declare readonly key?: string;
  /**
   * For `ERR_SESSION_CORRUPT` and `ERR_SESSION_SERIALIZE`: what the serializer threw. It is not enumerable and no `cause`,
   * because its text may contain parts of the session.
   */
  declare readonly serializerError?: unknown;

  constructor(code: SessionStoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

/** Adds properties to an error that inspection and logging do not show. */
export function withHidden<E extends SessionStoreError>(
  error: E,
  hidden: Pick<SessionStoreError, "key" | "serializerError">,
): E {
  for (const [name, value] of Object.entries(hidden)) {
    Object.defineProperty(error, name, { value, enumerable: false, configurable: true });
  }
  return error;
}

/**
 * The message of an error, or the text of any other value that was thrown. Node's AggregateError, for a host with several
 * addresses, has no message: that of the first address is used.
 */
export function errorMessage(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return (
    cause.message ||
    (cause instanceof AggregateError ? errorMessage(cause.errors[0] ?? cause.name) : cause.name)
  );
}

/** The TypeError for an invalid option. @param got replaces the description of `actual` */
export function optionError(
  name: string,
  expected: string,
  actual: unknown,
  got: string = describeValue(actual),
): TypeError {
  return new TypeError(`${name}: expected ${expected}, got ${got}`);
}

/** A value as error messages show it: a primitive or a short string as text, anything else as its type. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return value.length <= 60 ? JSON.stringify(value) : "a string";
  if (value === null || typeof value !== "object") {
    return typeof value === "function" ? "a function" : String(value);
  }
  return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "no prototype"})`;
}

/** The permissions to add to a message in which Redis denies a command (ACL): Redis names the command, not the rule to grant. */
export function aclHint(reason: string, permissions: () => string): string {
  return isDenied(reason) ? ` (needed: ${permissions()})` : "";
}

/** Whether Redis refused a command because the user lacks a permission (ACL). @param reason the message of the error */
export function isDenied(reason: string): boolean {
  return DENIED.test(reason);
}

/** Redis 6 and 7.0 word a denial inside a script differently. */
const DENIED = /NOPERM|ACL failure|can't (run this command|access at least one|publish to the channel)/;
