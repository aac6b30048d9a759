import type { SessionData } from "express-session";
import { cloneJson } from "./clone-json.ts";
import { alignExpires } from "./lifetime.ts";
import { memoryOfJson, memoryOfTexts } from "./memory.ts";
import {
  corruptError,
  describeType,
  isTooDeep,
  type SessionFormat,
  safeReason,
  TOO_DEEP,
} from "./serializer.ts";

/**
 * A session as Redis holds it, of which any number of private copies can be made. To save memory it does not contain its id,
 * which methods take for errors and for the codec.
 *
 * The object that is parsed first is the first copy. With JSON, the second one is kept, and cloned for
 * each further copy, unless it takes too much memory. With any other serializer the text is parsed for each copy.
 *
 * Applications do not construct one: `store.localCache` contains those of the store.
 */
export class StoredSession {
  /** The sequence number of this process's write that stored it; undefined if it was read. */
  writtenBy: number | undefined;
  readonly #format: SessionFormat;
  readonly #text: string;
  readonly #value: string | undefined;
  #expiresAt: number | undefined;
  #bytes: number;
  /** The original of all copies, or a copy that nobody has taken yet. */
  #parsed: SessionData | undefined;
  #keeping: "not yet" | "from the next" | "kept" | "never" = "not yet";

  /**
   * For the store alone: the arguments may change in any version.
   * @param text the serializer's
   * @param expiresAt when the key expires, in milliseconds by the monotonic clock of `performance.now()`, so that a step of
   * the wall clock changes nothing; undefined for never
   * @param value what Redis holds, if that will be compared with what it holds later
   */
  constructor(format: SessionFormat, text: string, expiresAt: number | undefined, value?: string) {
    this.#format = format;
    this.#text = text;
    this.#value = value;
    this.#expiresAt = expiresAt;
    this.#bytes = memoryOfTexts(value, text);
  }

  /** When its key expires, in milliseconds by `performance.now()`; undefined for never. */
  get expiresAt(): number | undefined {
    return this.#expiresAt;
  }

  /** The key has got another expiry. */
  set expiresAt(time: number | undefined) {
    this.#expiresAt = time;
    alignExpires(this.#parsed, time);
  }

  /** The memory that it takes, in bytes, as estimated. With JSON it grows with the second copy. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The serializer's text. */
  get text(): string {
    return this.#text;
  }

  /** The value in Redis; undefined if nothing compares it with what Redis holds later. */
  get value(): string | undefined {
    return this.#value;
  }

  /**
   * Checks that the text is a session.
   * @throws SessionStoreError `ERR_SESSION_CORRUPT` (or rejects with it, if the serializer is asynchronous)
   */
  parse(sid: string): void | Promise<void> {
    const session = this.#parseText(sid);
    if (isPromise(session)) {
      return session.then((parsed) => {
        this.#parsed = parsed;
      });
    }
    this.#parsed = session;
  }

  /** A session that shares nothing with any other; a promise of it if the serializer is asynchronous. Fails as `parse` does. */
  copy(sid: string): SessionData | Promise<SessionData> {
    const parsed = this.#parsed ?? this.#parseText(sid);
    if (this.#format.serializer !== JSON || !this.#keeps(parsed as SessionData)) {
      this.#parsed = undefined;
      return parsed;
    }
    this.#parsed = parsed as SessionData;
    try {
      return cloneJson(this.#parsed);
    } catch (error) {
      // The caller has left too little of the stack.
      throw corruptError(this.#format, sid, TOO_DEEP, error);
    }
  }

  /** Whether to keep what was parsed beside its text, for a copy that is being made. If so, it counts from the second one on. */
  #keeps(session: SessionData): boolean {
    if (this.#keeping === "not yet") this.#keeping = "from the next";
    else if (this.#keeping === "from the next") {
      const bytes = memoryOfJson(this.text, session);
      this.#keeping = bytes === Number.POSITIVE_INFINITY ? "never" : "kept";
      if (this.#keeping === "kept") this.#bytes += bytes;
    }
    return this.#keeping === "kept";
  }

  #parseText(sid: string): SessionData | Promise<SessionData> {
    let parsed: SessionData | PromiseLike<SessionData>;
    try {
      parsed = this.#format.serializer.parse(this.#text);
    } catch (error) {
      throw corruptError(this.#format, sid, safeReason(error, "serializer"), error);
    }
    if (!isPromise(parsed)) return this.#requireSession(sid, parsed);
    return Promise.resolve(parsed).then(
      (session) => this.#requireSession(sid, session),
      (error: unknown) => {
        throw corruptError(this.#format, sid, safeReason(error, "serializer"), error);
      },
    );
  }

  /** Checks what was parsed, and gives it the key's expiry. @returns it */
  #requireSession(sid: string, parsed: unknown): SessionData {
    if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) {
      throw corruptError(this.#format, sid, `expected an object, got ${describeType(parsed)}`);
    }
    const session = parsed as SessionData;
    if (this.#format.serializer === JSON && isTooDeep(this.text)) {
      throw corruptError(this.#format, sid, TOO_DEEP);
    }
    alignExpires(session, this.#expiresAt);
    return session;
  }
}

/**
 * Whether a value is a promise, and not its outcome. By its method: zone.js and Bluebird replace the global `Promise`, of which
 * the promises of async functions are no instances then. No session has such a method, since it came out of a text.
 */
export function isPromise<T>(value: T | PromiseLike<T>): value is Promise<T> {
  return typeof (value as PromiseLike<T> | null | undefined)?.then === "function";
}
