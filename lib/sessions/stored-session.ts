import type { SessionData } from "express-session";
import type { Serializer } from "../options/types.ts";
import { errorMessage, SessionStoreError } from "../reporting/errors.ts";
import { cloneJson } from "./clone-json.ts";
import { alignExpires } from "./lifetime.ts";

/**
 * A session as it stands in Redis, of which any number of private copies can be had.
 *
 * With JSON the text is parsed once and its result cloned for each. With any other serializer the text is parsed for
 * each, because only the serializer knows how to make a second one of what it makes.
 */
export class StoredSession {
  readonly #serializer: Serializer;
  readonly #key: string;
  readonly #text: string;
  #expiresAt: number | undefined;
  /** With JSON what all copies are made of; otherwise a copy that nobody has asked for yet. */
  #parsed: { readonly session: SessionData | null } | undefined;

  /** @param expiresAt when the key expires, in milliseconds since 1970; undefined when it never does */
  constructor(serializer: Serializer, key: string, text: string, expiresAt: number | undefined) {
    this.#serializer = serializer;
    this.#key = key;
    this.#text = text;
    this.#expiresAt = expiresAt;
  }

  /** When its key expires, in milliseconds since 1970; undefined when it never does. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /** Notes that the key has been given a later, or sooner, end. */
  set expiresAt(time: number | undefined) {
    this.#expiresAt = time;
    alignExpires(this.#parsed?.session, time);
  }

  /** What a cache should count for it: two bytes for each UTF-16 unit. The parsed form measures 1.5 to 1.8 of one-byte text. */
  get bytes(): number {
    return 2 * (this.#key.length + this.#text.length);
  }

  /** The value in Redis. */
  get text(): string {
    return this.#text;
  }

  /**
   * Sees to it that the text can be parsed.
   * @throws SessionStoreError `ERR_SESSION_CORRUPT`, naming the key (or rejects with it, if the serializer is asynchronous)
   */
  parse(): void | Promise<void> {
    const keep = (session: SessionData | null) => {
      this.#parsed = { session };
    };
    const session = this.#fresh();
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
    return spare === undefined ? this.#fresh() : spare.session;
  }

  #fresh(): SessionData | null | Promise<SessionData | null> {
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
