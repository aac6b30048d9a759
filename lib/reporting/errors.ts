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

/** A value as error messages show it: a primitive or a short string as text, a long one as its length, anything else as its type. */
export function describeValue(value: unknown): string {
  if (typeof value === "string")
    return value.length <= 60 ? JSON.stringify(value) : `a string of ${value.length} characters`;
  if (value === null || typeof value !== "object") {
    return typeof value === "function" ? "a function" : String(value);
  }
  return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "no prototype"})`;
}

/** The same for what may be a session id, a session or a secret: of a string only the type. */
export function describeArgument(value: unknown): string {
  return typeof value === "string" ? "a string" : describeValue(value);
}

/** The same for what a function of the application returned or threw. If it is a promise, nothing else handles its rejection. */
export function describeReturned(value: unknown): string {
  const { then } = (value ?? {}) as Partial<PromiseLike<unknown>>;
  if (typeof then === "function") Promise.resolve(value).catch(() => {});
  return describeValue(value);
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

/** What to say of a refused command or value, by the words of Redis, node-redis and codecs: they do not say what the application did. */
const HINTS: readonly (readonly [reason: RegExp, hint: string])[] = [
  [/^(MOVED|CROSSSLOT) /, "this Redis is a Cluster: create the client with createCluster()"],
  [
    /only \(P\|S\)SUBSCRIBE/,
    "the application subscribes on the store's client: use client.duplicate() for that",
  ],
  [/watched keys/, "the application calls WATCH on the store's client: use client.duplicate() for that"],
  [/^NOAUTH /, "pass the password to createClient()"],
  [/^WRONGTYPE /, "something else uses keys under the store's prefix"],
  [/ERR_CODEC_PLAIN$/, "it is not encrypted, and acceptPlain is not set"],
  [/ERR_CODEC_UNKNOWN_KEY$/, "the id of its key is not among keys"],
  [/ERR_CODEC_NOT_AUTHENTIC$/, "it was changed or copied, or another key has the same id"],
  [/ERR_CODEC_FORMAT$/, "it is damaged, or a newer version has written it"],
];

/** What to say of a refused command or value, to be appended to the reason; empty if nothing is known. */
export function hintFor(reason: string): string {
  const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
  return hint === undefined ? "" : ` (${hint})`;
}

/** What to do about a store that is not live, by the words of Redis, node-redis and the store. */
const FIXES: readonly (readonly [reason: RegExp, fix: string])[] = [
  [/connect\(\) was not called/, "Call connect() on the client: createClient() alone opens no connection."],
  [
    /NOAUTH/,
    'Pass the password to createClient(), as createClient({ url: "redis://user:password@host:6379" }) or as options. An AUTH command does not reach the connection of the subscription.',
  ],
  [/WRONGPASS/, "Correct the user name and the password in the options of createClient()."],
  [/NOPERM|needed: /, "Grant the Redis user the permissions that are missing (ACL SETUSER)."],
  [
    /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT|timeout/i,
    "Check that Redis is running, and the address in the options of createClient().",
  ],
  [/certificate/, "Pass the certificate authority to createClient(): socket: { tls: true, ca }."],
  [/MOVED/, "This Redis is a Cluster: create the client with createCluster()."],
];

/** What to do about a failure to become live. */
export function fixFor(reason: string): string {
  const fix = FIXES.find(([pattern]) => pattern.test(reason))?.[1];
  return (
    fix ?? 'Listen to the event clusterError to see each failure: store.on("clusterError", console.warn).'
  );
}
