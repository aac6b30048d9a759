import type { SessionData } from "express-session";
import type { Serializer } from "../options/types.ts";
import { errorMessage, SessionStoreError } from "../reporting/errors.ts";
import { cloneJson } from "./clone-json.ts";
import { alignExpires } from "./lifetime.ts";

/**
 * A session as Redis holds it, of which any number of private copies can be made.
 *
 * With JSON the text is parsed once and the result cloned for each copy. With any other serializer it is parsed for each
 * copy, because only the serializer knows how to make another of what it makes.
 *
 * Applications do not construct one: `store.localCache` shows those of the store.
 */
export class StoredSession {
  /** The sequence number of this process's write that stored it; undefined if it was read. */
  writtenBy: number | undefined;
  readonly #serializer: Serializer;
  readonly #key: string;
  readonly #text: string;
  #expiresAt: number | undefined;
  /** With JSON the original of all copies; otherwise a copy that nobody has taken yet. */
  #parsed: { readonly session: SessionData | null } | undefined;

  /**
   * For the store alone: the arguments may change in any version.
   * @param expiresAt when the key expires, in milliseconds by the monotonic clock of `performance.now()`, so that a step of
   * the wall clock changes nothing; undefined for never
   */
  constructor(serializer: Serializer, key: string, text: string, expiresAt: number | undefined) {
    this.#serializer = serializer;
    this.#key = key;
    this.#text = text;
    this.#expiresAt = expiresAt;
  }

  /** When its key expires, in milliseconds by `performance.now()`; undefined for never. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /** The key has got another expiry. */
  set expiresAt(time: number | undefined) {
    this.#expiresAt = time;
    alignExpires(this.#parsed?.session, time);
  }

  /** What it counts against `maxBytes`: two bytes per UTF-16 unit. The parsed form measures 1.5 to 1.8 of one-byte text. */
  get bytes(): number {
    return 2 * (this.#key.length + this.#text.length);
  }

  /** The value in Redis. */
  get text(): string {
    return this.#text;
  }

  /**
   * Checks that the text can be parsed.
   * @throws SessionStoreError `ERR_SESSION_CORRUPT`, naming the key (or rejects with it, if the serializer is asynchronous)
   */
  parse(): void | Promise<void> {
    const keep = (session: SessionData | null) => {
      this.#parsed = { session };
    };
    const session = this.#parseText();
    return session instanceof Promise ? session.then(keep) : keep(session);
  }

  /** A session that shares nothing with any other; a promise of it if the serializer is asynchronous. Fails as `parse` does. */
  copy(): SessionData | null | Promise<SessionData | null> {
    if (this.#serializer === JSON) {
      if (this.#parsed === undefined) this.parse();
      return cloneJson(this.#parsed?.session ?? null);
    }
    const spare = this.#parsed;
    this.#parsed = undefined;
    return spare === undefined ? this.#parseText() : spare.session;
  }

  #parseText(): SessionData | null | Promise<SessionData | null> {
    const align = (session: SessionData | null) => {
      alignExpires(session, this.#expiresAt);
      return session;
    };
    let session: SessionData | null | PromiseLike<SessionData>;
    try {
      session = this.#serializer.parse(this.#text);
    } catch (cause) {
      throw this.#corrupt(cause);
    }
    if (!isThenable(session)) return align(session);
    return Promise.resolve(session).then(align, (cause: unknown) => {
      throw this.#corrupt(cause);
    });
  }

  #corrupt(cause: unknown): SessionStoreError {
    const message = `The value of "${this.#key}" in Redis is not a session: ${errorMessage(cause)}`;
    return new SessionStoreError("ERR_SESSION_CORRUPT", message, cause);
  }
}

function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as PromiseLike<T> | null)?.then === "function";
}
