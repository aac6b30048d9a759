import { FillFence, type FillToken } from "./fill-fence.ts";
import type { LocalCache } from "./local-cache.ts";

/** What a near cache requires of a value: when its key expires, and what it counts against `maxBytes`. */
export interface Cacheable {
  /** In milliseconds since 1970; undefined for never. */
  expiresAt: number | undefined;
  readonly bytes: number;
}

interface Flight<V> {
  readonly token: FillToken;
  readonly reading: Promise<V | undefined>;
}

/**
 * The rules by which sessions go into and out of the memory of this process: served only while it is trusted, never filled
 * with what has been overtaken, and read once for all who ask at the same time.
 *
 * It knows neither Redis nor messages: reads and writes are handed in, and the store tells it what to forget.
 */
export class NearCache<V extends Cacheable> {
  readonly #cache: LocalCache<V>;
  readonly #isTrusted: (now: number) => boolean;
  readonly #fence = new FillFence();
  readonly #flights = new Map<string, Flight<V>>();
  #fencedFills = 0;

  /** @param isTrusted whether at a time of performance.now() the cache may be read and filled */
  constructor(cache: LocalCache<V>, isTrusted: (now: number) => boolean) {
    this.#cache = cache;
    this.#isTrusted = isTrusted;
  }

  /** How many replies were not cached because something was heard of their session, or of all, in the meantime. */
  get fencedFills(): number {
    return this.#fencedFills;
  }

  /** The session as this process knows it, if it may be served. */
  hit(sid: string): V | undefined {
    const now = performance.now();
    return this.#isTrusted(now) ? this.#cache.get(sid, now) : undefined;
  }

  /** What is held of a session, without counting it as a read. */
  peek(sid: string): V | undefined {
    const now = performance.now();
    return this.#isTrusted(now) ? this.#cache.peek(sid, now) : undefined;
  }

  /**
   * Reads a session through the cache.
   *
   * 1. While the cache is not trusted, each read goes its own way and leaves nothing behind.
   * 2. Otherwise a token is taken before the read is sent.
   * 3. A read under way is joined instead if nothing has been heard of its session since it began: its reply is then as
   *    fresh as a hit would be. Nothing is heard of a key that expires, so a reply that was held up until after the end of
   *    its session is only for those who had asked before.
   * 4. The reply is cached if the token is still valid and the cache still trusted when it has arrived *and been parsed*.
   */
  read(sid: string, fetch: () => Promise<V | undefined>): Promise<V | undefined> {
    const token = this.#tokenIfTrusted(sid);
    if (token === undefined) return fetch();
    const joined = this.#flights.get(sid);
    if (joined !== undefined && this.#fence.isValid(joined.token)) return this.#join(joined, sid, fetch);
    const flight: Flight<V> = { token, reading: this.#fetchAndFill(sid, token, fetch) };
    this.#flights.set(sid, flight);
    const land = () => {
      if (this.#flights.get(sid) === flight) this.#flights.delete(sid);
    };
    flight.reading.then(land, land);
    return flight.reading;
  }

  async #join(
    { reading }: Flight<V>,
    sid: string,
    fetch: () => Promise<V | undefined>,
  ): Promise<V | undefined> {
    const askedAt = Date.now();
    const session = await reading;
    const hadEnded = session?.expiresAt !== undefined && session.expiresAt <= askedAt;
    return hadEnded ? this.read(sid, fetch) : session;
  }

  async #fetchAndFill(
    sid: string,
    token: FillToken,
    fetch: () => Promise<V | undefined>,
  ): Promise<V | undefined> {
    const session = await fetch();
    if (session !== undefined) this.#fill(sid, token, session);
    return session;
  }

  /**
   * Carries out a write of one session.
   *
   * 1. The session is forgotten, which voids all replies under way, and a token is taken; none while the cache is not
   *    trusted, for then a later write of somebody else's may go unheard.
   * 2. When the write has ended, in whatever way, it is forgotten once more: a read that overlapped the write may bring, or
   *    have filled, what was there before.
   * 3. If it succeeded, and the token was valid up to then, what it wrote is cached: nobody has written in between.
   *
   * @param carryOut resolves with what stands in Redis now, if that is known
   */
  async write(sid: string, carryOut: () => Promise<V | undefined>): Promise<V | undefined> {
    this.forget(sid);
    const token = this.#tokenIfTrusted(sid);
    let written: V | undefined;
    let isOvertaken = false;
    try {
      written = await carryOut();
      isOvertaken = token !== undefined && !this.#fence.isValid(token);
    } finally {
      this.forget(sid);
    }
    if (written === undefined || token === undefined) return written;
    if (isOvertaken) this.#fencedFills++;
    else this.#fill(sid, this.#fence.take(sid), written);
    return written;
  }

  /** Carries out a change after which the sessions, or all of them, are not known any more. See `write`. */
  async remove<T>(sids: readonly string[] | "all", carryOut: () => Promise<T>): Promise<T> {
    this.#forgetEach(sids);
    try {
      return await carryOut();
    } finally {
      this.#forgetEach(sids);
    }
  }

  /**
   * Carries out a change of nothing but a session's end.
   *
   * A session that was prolonged may stay: it only ends here sooner than it has to. One that now ends earlier, and one of
   * which that is not known, is forgotten.
   *
   * @param carryOut resolves with "later" only if the session exists and its end is none the earlier for it
   */
  async expire<T extends string>(
    sid: string,
    expiresAt: number,
    carryOut: () => Promise<T | "later">,
  ): Promise<T | "later"> {
    const token = this.#tokenIfTrusted(sid);
    let change: T | "later" | undefined;
    try {
      change = await carryOut();
    } finally {
      if (change !== "later") this.forget(sid);
    }
    const held = this.#cache.peek(sid);
    if (held !== undefined && token !== undefined && this.#fence.isValid(token)) held.expiresAt = expiresAt;
    return change;
  }

  /** Forgets a session, and voids all replies under way. @returns whether it was held */
  forget(sid: string): boolean {
    this.#fence.revoke(sid);
    return this.#cache.delete(sid);
  }

  /** Forgets everything, and voids all replies under way. */
  forgetAll(): void {
    this.#fence.revokeAll();
    this.#cache.clear();
  }

  #tokenIfTrusted(sid: string): FillToken | undefined {
    return this.#isTrusted(performance.now()) ? this.#fence.take(sid) : undefined;
  }

  #forgetEach(sids: readonly string[] | "all"): void {
    if (sids === "all") this.forgetAll();
    else for (const sid of sids) this.forget(sid);
  }

  #fill(sid: string, token: FillToken, session: V): void {
    if (!this.#fence.isValid(token)) {
      this.#fencedFills++;
      return;
    }
    const now = performance.now();
    if (!this.#isTrusted(now)) return;
    const { expiresAt } = session;
    const leftMs = expiresAt === undefined ? undefined : expiresAt - Date.now();
    if (leftMs === undefined || leftMs > 0) this.#cache.set(sid, session, session.bytes, leftMs, now);
  }
}
