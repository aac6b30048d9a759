import type { SessionData } from "express-session";
import type { Serializer } from "../options/types.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { describeValue, SessionStoreError, withHidden } from "../reporting/errors.ts";
import { isWellFormed } from "../reporting/text.ts";

/** How sessions are stored in Redis. */
export interface SessionFormat {
  readonly serializer: Serializer;
  /** What precedes the session id in a key. */
  readonly prefix: string;
}

/** @throws SessionStoreError `ERR_SESSION_SERIALIZE` */
export function stringify(format: SessionFormat, sid: string, session: SessionData): string {
  let text: unknown;
  try {
    text = format.serializer.stringify(session);
  } catch (error) {
    throw serializeError(format, sid, reasonOf(error), error);
  }
  if (typeof text !== "string") {
    throw serializeError(format, sid, `serializer.stringify returned ${describeType(text)}`);
  }
  // Redis cannot tell an empty value from none, and replaces a lone surrogate: other processes would not see the session.
  if (text === "") throw serializeError(format, sid, "serializer.stringify returned an empty string");
  if (!isWellFormed(text)) {
    throw serializeError(
      format,
      sid,
      "serializer.stringify returned a string that is not well-formed UTF-16",
    );
  }
  return text;
}

function serializeError(
  format: SessionFormat,
  sid: string,
  reason: string,
  error?: unknown,
): SessionStoreError {
  const message = `The session ${hashSid(sid)} cannot be serialized: ${reason}`;
  return withHidden(new SessionStoreError("ERR_SESSION_SERIALIZE", message), {
    key: format.prefix + sid,
    ...(error !== undefined && { serializerError: error }),
  });
}

/** The error for a value that is not a session. @param error what the serializer threw, if it did */
export function corruptError(
  format: SessionFormat,
  sid: string,
  reason: string,
  error?: unknown,
): SessionStoreError {
  const message = `The value of session ${hashSid(sid)} in Redis is not a session: ${reason}`;
  return withHidden(new SessionStoreError("ERR_SESSION_CORRUPT", message), {
    key: format.prefix + sid,
    ...(error !== undefined && { serializerError: error }),
  });
}

/** Messages of V8 that contain nothing of the session. */
const HARMLESS = /^(Converting circular structure to JSON|Do not know how to serialize a BigInt)/;

/** What can be said of a serializer's error: its text may contain parts of the session, as that of `JSON.parse` does. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return `the serializer threw ${describeType(error)}`;
  const { name, message, code } = error as NodeJS.ErrnoException;
  if (error instanceof SyntaxError) {
    const [position] = / at position \d+/.exec(message) ?? [""];
    return `invalid JSON${position}`;
  }
  const [harmless] = HARMLESS.exec(message) ?? [];
  if (harmless !== undefined) return harmless;
  return `the serializer threw ${[name, code].filter((part) => typeof part === "string").join(" ")}`;
}

/** The kind of a value, without its content. */
export function describeType(value: unknown): string {
  return value !== null && ["string", "number", "bigint", "symbol"].includes(typeof value)
    ? `a ${typeof value}`
    : describeValue(value);
}
