import type { SessionData } from "express-session";

/** How long a session lives: seconds, or a function of the session that returns seconds. */
export type SessionTtl = number | ((session: SessionData) => number);

/** Converts sessions to strings and back, as in connect-redis. `JSON` is one. */
export interface Serializer {
  /** Returns the session that `stringify` serialized. If it throws or rejects, that request gets an error. */
  parse(text: string): SessionData | Promise<SessionData>;
  /** Synchronous, because the session belongs to the request and may change at any time. */
  stringify(session: SessionData): string;
}

/** The session whose value a codec encodes or decodes. */
export interface CodecContext {
  /** The session id. */
  readonly sid: string;
  /** The key in Redis: the prefix, including one that the client adds, and the session id. */
  readonly key: string;
}

/**
 * Encodes the serializer's text for Redis, and decodes it: encryption, for example. Both are synchronous. The cache holds
 * decoded sessions, so a cache hit does not decode.
 */
export interface Codec {
  /** Returns what Redis stores: a well-formed, non-empty string. If it throws, the save fails. */
  encode(text: string, context: CodecContext): string;
  /** Returns the text that `encode` was given. If it throws, the value is corrupt; see `onCorrupt`. */
  decode(value: string, context: CodecContext): string;
}

/** Returns the value by which a session is found; undefined or null for a session that is not indexed. */
export type IndexBy = (session: SessionData) => string | null | undefined;

/** One key of a session in its three versions; undefined where the key is absent. */
export interface ConflictingValues {
  /** The value this request loaded. */
  readonly base: unknown;
  /** The value another request has written since. */
  readonly theirs: unknown;
  /** The value this request wants to write. */
  readonly mine: unknown;
}

/**
 * Chooses the value of a top-level key that two requests have changed. The return value is written; undefined deletes the key.
 * The function must not change its arguments.
 */
export type ResolveConflict = (key: string, values: ConflictingValues) => unknown;
