import type { SessionData } from "express-session";
import type { Codec, Serializer } from "../options/types.ts";
import { isTooLong, TOO_LONG } from "../redis/replies.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { describeReturned, hintFor, SessionStoreError, withHidden } from "../reporting/errors.ts";
import { standalone } from "../reporting/text.ts";

/** How sessions are stored in Redis: a session is serialized to a text, which the codec encodes to the value of the key. */
export interface SessionFormat {
  readonly serializer: Serializer;
  /** Undefined if the value is the text. */
  readonly codec?: Codec | undefined;
  /** What precedes the session id in a key. */
  readonly prefix: string;
}

/** @throws SessionStoreError `ERR_SESSION_SERIALIZE` */
export function stringify(format: SessionFormat, sid: string, session: SessionData): string {
  let text: unknown;
  try {
    text = format.serializer.stringify(session);
  } catch (error) {
    throw serializeError(format, sid, safeReason(error, "serializer"), error);
  }
  requireStorable(format, sid, text, "serializer.stringify");
  if (format.serializer !== JSON) return standalone(text);
  // Nobody could read it.
  if (!text.startsWith("{")) throw serializeError(format, sid, "its JSON is not an object");
  if (isTooDeep(text)) throw serializeError(format, sid, TOO_DEEP);
  return text;
}

/** The value in Redis for a text. @throws SessionStoreError `ERR_SESSION_SERIALIZE` */
export function encode(format: SessionFormat, sid: string, text: string): string {
  const { codec, prefix } = format;
  let value = text;
  if (codec !== undefined) {
    let encoded: unknown;
    try {
      encoded = codec.encode(text, { sid, key: prefix + sid });
    } catch (error) {
      throw serializeError(format, sid, safeReason(error, "codec"), error);
    }
    requireStorable(format, sid, encoded, "codec.encode");
    value = standalone(encoded);
  }
  // Nobody could read it.
  if (isTooLong(value)) throw serializeError(format, sid, TOO_LONG);
  return value;
}

/** The text in a value of Redis. @throws SessionStoreError `ERR_SESSION_CORRUPT` */
export function decode(format: SessionFormat, sid: string, value: string): string {
  const { codec, prefix } = format;
  if (codec === undefined) return value;
  let text: unknown;
  try {
    text = codec.decode(value, { sid, key: prefix + sid });
  } catch (error) {
    throw corruptError(format, sid, safeReason(error, "codec"), error);
  }
  if (typeof text === "string") return standalone(text);
  throw corruptError(format, sid, `codec.decode returned ${describeType(text)}`);
}

/** Redis cannot tell an empty value from none, and replaces a lone surrogate: other processes would not see the session. */
function requireStorable(
  format: SessionFormat,
  sid: string,
  text: unknown,
  source: string,
): asserts text is string {
  let returned: string;
  if (typeof text !== "string") returned = describeType(text);
  else if (text === "") returned = "an empty string";
  else if (!text.isWellFormed()) returned = "a string that is not well-formed UTF-16";
  else return;
  throw serializeError(format, sid, `${source} returned ${returned}`);
}

function serializeError(format: SessionFormat, sid: string, reason: string, error?: unknown) {
  const message = `The session ${hashSid(sid)} cannot be serialized: ${reason}`;
  return withCause(new SessionStoreError("ERR_SESSION_SERIALIZE", message), format, sid, error);
}

/** The error for a value that is not a session. @param error what the serializer or the codec threw, if it did */
export function corruptError(
  format: SessionFormat,
  sid: string,
  reason: string,
  error?: unknown,
): SessionStoreError {
  const message = `The value of session ${hashSid(sid)} in Redis is not a session: ${reason}`;
  return withCause(new SessionStoreError("ERR_SESSION_CORRUPT", message), format, sid, error);
}

/** Adds what must not be logged. */
function withCause(error: SessionStoreError, { prefix }: SessionFormat, sid: string, cause: unknown) {
  return withHidden(error, {
    key: prefix + sid,
    ...(cause !== undefined && { serializerError: cause }),
  });
}

/** The error for a value of which Redis says that it is another than the one that it returned. */
export function notUtf8Error(format: SessionFormat, sid: string): SessionStoreError {
  return corruptError(format, sid, "it is not valid UTF-8, so it cannot be compared");
}

/** After so many conflicts over one session, other writers leave no gap. */
export const MAX_CONFLICTS = 32;

export function conflictError({ prefix }: SessionFormat, sid: string): SessionStoreError {
  const message = `The session ${hashSid(sid)} was written by others ${MAX_CONFLICTS} times in a row`;
  return withHidden(new SessionStoreError("ERR_SESSION_CONFLICT", message), { key: prefix + sid });
}

/** Messages of V8 that contain nothing of the session. */
const HARMLESS = /^(Converting circular structure to JSON|Do not know how to serialize a BigInt)/;

/** What can be said of an error: its text may contain parts of the session, as that of `JSON.parse` does. */
export function safeReason(error: unknown, thrower: "serializer" | "codec"): string {
  if (!(error instanceof Error)) return `the ${thrower} threw ${describeType(error)}`;
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (error instanceof SyntaxError) {
    const [position] = / at position \d+/.exec(message) ?? [""];
    return `invalid JSON${position}`;
  }
  const [harmless] = HARMLESS.exec(message) ?? [];
  if (harmless !== undefined) return harmless;
  const reason = `the ${thrower} threw ${[name, code].filter((part) => typeof part === "string").join(" ")}`;
  return reason + hintFor(reason);
}

/** The kind of a value, without its content. */
export function describeType(value: unknown): string {
  return value !== null && ["string", "number", "bigint", "symbol"].includes(typeof value)
    ? `a ${typeof value}`
    : describeReturned(value);
}

/** The longest chain of objects and arrays in a session. Copying and comparing one that is deeper could overflow the stack. */
const MAX_DEPTH = 1_000;

/** What is said of a session that is deeper. */
export const TOO_DEEP: string = `it is nested more than ${MAX_DEPTH} levels deep`;

/** Whether what a JSON text says is nested too deeply. Most texts have so few brackets that only these are counted. */
export function isTooDeep(json: string): boolean {
  if (!hasBracketsFor(MAX_DEPTH + 1, json)) return false;
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '"') isInString = !isInString;
    else if (isInString) {
      // What it escapes may be a quote.
      if (char === "\\") i++;
    } else if (char === "{" || char === "[") {
      if (++depth > MAX_DEPTH) return true;
    } else if (char === "}" || char === "]") depth--;
  }
  return false;
}

/** Whether a text has as many opening brackets as a chain of `depth` objects and arrays needs. */
function hasBracketsFor(depth: number, text: string): boolean {
  // Each level takes two.
  if (text.length < 2 * depth) return false;
  let left = depth;
  for (const bracket of "{[")
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1))
      if (--left === 0) return true;
  return false;
}
