import { LocalCache, type LocalCacheLimits } from "./local-cache.ts";
import type { Cacheable } from "./types.ts";

/**
 * The entries of a cache that has lost its verification. They may be served while Redis does not answer, for a limited time
 * since they were last verified, and never after their key has expired. The first answer of Redis drops all of them.
 */
export class StaleEntries<V extends Cacheable> {
  readonly #entries: LocalCache<V>;
  readonly #maxAgeMs: number;
  /** Those that were served. */
  readonly #served = new Set<string>();
  /** When they were kept. A reply to something that was sent before says nothing about them. */
  #keptAt = Number.NEGATIVE_INFINITY;

  /** @param maxAgeMs how long an entry may be served after it was last verified */
  constructor(maxAgeMs: number, limits: LocalCacheLimits) {
    this.#maxAgeMs = maxAgeMs;
    this.#entries = new LocalCache({ ...limits, ttlMs: maxAgeMs });
  }

  /** Keeps entries, and drops all earlier ones. @param verifiedAt when they were last verified, by `performance.now()` */
  keep(entries: Iterable<[sid: string, value: V]>, verifiedAt: number): void {
    this.clear();
    const now = performance.now();
    this.#keptAt = now;
    for (const [sid, value] of entries) {
      const endsAt = Math.min(verifiedAt + this.#maxAgeMs, value.expiresAt ?? Number.POSITIVE_INFINITY);
      this.#entries.set(sid, value, sizeOf(sid, value), endsAt - now, now);
    }
  }

  /** The entry of a session, which is not served yet. */
  peek(sid: string): V | undefined {
    return this.#entries.size === 0 ? undefined : this.#entries.peek(sid);
  }

  /** Serves the entry of a session. */
  serve(sid: string): V | undefined {
    const value = this.#entries.get(sid);
    if (value !== undefined) this.#served.add(sid);
    return value;
  }

  /** An entry's size may have changed: serving one may make it grow. */
  recount(sid: string, value: V): void {
    if (this.peek(sid) === value) this.#entries.resize(sid, sizeOf(sid, value));
  }

  /** Whether the session was served, and Redis has not answered since. */
  wasServed(sid: string): boolean {
    return this.#served.has(sid);
  }

  delete(sid: string): void {
    if (this.#entries.size > 0) this.#entries.delete(sid);
  }

  /** Iterates over the entries, in no particular order. */
  entries(): Generator<[sid: string, value: V]> {
    return this.#entries.entries();
  }

  /** The session's key gets another expiry, or perhaps not: it may only end earlier than is known here. */
  onTouch(sid: string, expiresAt: number): void {
    const value = this.peek(sid);
    if (value !== undefined && (value.expiresAt ?? Number.POSITIVE_INFINITY) > expiresAt) this.delete(sid);
  }

  /** Redis has answered something that was sent at `sentAt`. */
  onAnswer(sentAt: number): void {
    if (sentAt >= this.#keptAt) this.clear();
  }

  clear(): void {
    if (this.#entries.size > 0) this.#entries.clear();
    this.#served.clear();
  }
}

function sizeOf(sid: string, { bytes }: Cacheable): number {
  return bytes + sid.length;
}
