import type { Counters } from "../reporting/counters.ts";
import { standalone } from "../reporting/text.ts";
import { FillFence, type FillToken } from "./fill-fence.ts";
import type { LocalCache } from "./local-cache.ts";
import type { StaleEntries } from "./stale-entries.ts";
import {
  type Cacheable,
  type CacheGate,
  type Fetch,
  NEVER_LIVE,
  type PendingTouch,
  type PendingWrite,
} from "./types.ts";

export interface NearCacheOptions<V extends Cacheable> {
  readonly cache: LocalCache<V>;
  readonly gate: CacheGate;
  readonly counters: Counters;
  /** Where sessions are kept that are not verified any more; undefined for nowhere. */
  readonly stale?: StaleEntries<V> | undefined;
  /** What is kept elsewhere for each cached session, in bytes. @default 0 */
  readonly entryBytes?: number | undefined;
}

interface InFlightRead<V> {
  readonly token: FillToken;
  readonly reading: Promise<V | undefined>;
}

/**
 * The rules by which sessions enter and leave the memory of this process: served only while the cache is usable, never
 * filled with an overtaken reply, and read once for all who ask at the same time.
 *
 * It knows neither Redis nor messages. The caller runs the writes of one session one after another.
 */
export class NearCache<V extends Cacheable> {
  readonly #cache: LocalCache<V>;
  #gate: CacheGate;
  readonly #counters: Counters;
  readonly #stale: StaleEntries<V> | undefined;
  readonly #entryBytes: number;
  readonly #fence = new FillFence();
  readonly #reads = new Map<string, InFlightRead<V>>();
  /** Pending writes, in the order of their calls; one never sent may end before an earlier one. No Map: see `Deadline.end`. */
  readonly #writes: Record<string, PendingWrite[]> = Object.create(null);
  /** When sessions expire by a pending touch. A reply that arrives meanwhile may be from before Redis executes it. */
  readonly #touches = new Map<string, number>();

  constructor({ cache, gate, counters, stale, entryBytes = 0 }: NearCacheOptions<V>) {
    this.#cache = cache;
    this.#gate = gate;
    this.#counters = counters;
    this.#stale = stale;
    this.#entryBytes = entryBytes;
  }

  /** The cached session, if it may be served. */
  hit(sid: string): V | undefined {
    const now = performance.now();
    return this.#gate.isLive(now) ? this.#cache.get(sid, now) : undefined;
  }

  /** The cached session, without counting a read. */
  peek(sid: string): V | undefined {
    const now = performance.now();
    return this.#gate.isLive(now) ? this.#cache.peek(sid, now) : undefined;
  }

  /** Whether sessions may be read from and put into the cache now. */
  get isUsable(): boolean {
    return this.#gate.isLive(performance.now());
  }

  /**
   * Reads a session through the cache.
   *
   * 1. While the cache is not usable, each read is sent by itself and fills nothing.
   * 2. Otherwise it takes a token before it is sent. If `fetch` cannot read in such a way that later writes are noticed, it
   *    revokes the token by `invalidate` before it reads.
   * 3. It joins a read in flight if that one's token is still valid: the reply is then as fresh as a hit. No message
   *    reports a key that expires, so a reply delayed until after its session's expiry serves only earlier callers. Nor does
   *    a caller join one after an expiry that a pending touch may have set.
   * 4. The reply is cached if the token is still valid, and the cache usable, once it has arrived *and been parsed*.
   * 5. A reply is not cached while a write is pending that may not have been executed: the read may have been called, and
   *    have waited for earlier writes, before that one was called, and later reads must not find the older value.
   * 6. A reply that is not cached may be newer than what is: it drops the cached session, and a pending write will
   *    not cache its own. So the reads of this process never go back.
   */
  read(sid: string, fetch: Fetch<V>): Promise<V | undefined> {
    if (this.#touchedTo(sid) <= performance.now()) this.#drop(sid);
    const token = this.#tokenIfUsable(sid);
    if (token === undefined) return this.#fetchAndFill(sid, token, fetch);
    const joined = this.#reads.get(sid);
    if (joined !== undefined && this.#fence.isValid(joined.token)) return this.#join(joined, sid, fetch);
    const reading = this.#fetchAndFill(sid, token, fetch);
    this.#reads.set(sid, { token, reading });
    return reading;
  }

  async #join({ reading }: InFlightRead<V>, sid: string, fetch: Fetch<V>): Promise<V | undefined> {
    const calledAt = performance.now();
    const session = await reading;
    const hadExpired = session?.expiresAt !== undefined && session.expiresAt <= calledAt;
    return hadExpired ? this.read(sid, fetch) : session;
  }

  #fetchAndFill(sid: string, token: FillToken | undefined, fetch: Fetch<V>): Promise<V | undefined> {
    return fetch(token !== undefined).then(
      (session) => {
        this.#endRead(sid, token);
        return this.#onFetched(sid, token, session);
      },
      (error: unknown) => {
        this.#endRead(sid, token);
        throw error;
      },
    );
  }

  #endRead(sid: string, token: FillToken | undefined): void {
    if (token !== undefined && this.#reads.get(sid)?.token === token) this.#reads.delete(sid);
  }

  #onFetched(sid: string, token: FillToken | undefined, session: V | undefined): V | undefined {
    for (const each of this.#writes[sid] ?? []) each.isOvertaken = true;
    const write = this.#newestWrite(sid);
    const isBehind = write !== undefined && !write.isPositioned;
    const isRevoked = token !== undefined && !this.#fence.isValid(token);
    if (token !== undefined && !isRevoked && !isBehind) {
      if (session !== undefined) this.#fill(sid, session);
      return session;
    }
    if (isRevoked && session !== undefined) this.#counters.fencedFills++;
    this.invalidate(sid);
    return session;
  }

  /** Whether a session is cached, or may be as soon as an operation under way ends: until then its messages must be received. */
  isInUse(sid: string): boolean {
    if (this.#reads.has(sid) || sid in this.#writes || this.#cache.peek(sid) !== undefined) return true;
    return this.#stale?.peek(sid) !== undefined;
  }

  /** Resolves when a read sees all writes of a session that were called so far; undefined if it does at once. */
  whenWritten(sid: string): Promise<void> | undefined {
    const write = this.#newestWrite(sid);
    if (write === undefined || write.isPositioned) return undefined;
    return new Promise((resolve) => {
      write.onExecuted ??= [];
      write.onExecuted.push(resolve);
    });
  }

  /** Begins a write of some sessions: from here on nothing older is served. The caller must pass it to `endWrite`, once. */
  beginWrite(...sids: readonly string[]): PendingWrite {
    const [sid = ""] = sids;
    for (const each of sids) this.invalidate(each);
    const write: PendingWrite = {
      sids,
      sequence: undefined,
      token: this.#tokenIfUsable(sid),
      isPositioned: false,
      isOvertaken: false,
      onExecuted: undefined,
    };
    for (const each of sids) {
      const pending = this.#writes[each];
      if (pending === undefined) this.#writes[each] = [write];
      else if (pending.at(-1) !== write) pending.push(write);
    }
    return write;
  }

  /**
   * Ends a write, whatever its outcome. Whatever a read cached meanwhile is dropped, since it
   * may be older, and reads in flight are not joined any more, even if a later write is pending.
   *
   * The written value is cached if, since the call, the cache has not been flushed, no read of the session has been
   * answered, and, since the write's own message has arrived, no other message about it has.
   *
   * @param value what Redis holds now, if that is known
   */
  endWrite(write: PendingWrite, value?: V): void {
    const { sids, token, isPositioned, isOvertaken } = write;
    const [sid = ""] = sids;
    const mayFill = value !== undefined && token !== undefined;
    const isNewest = this.#newestWrite(sid) === write;
    const isCurrent = mayFill && (isPositioned ? this.#fence.isValid(token) : this.#fence.isSameEpoch(token));
    for (const each of sids) {
      this.invalidate(each);
      this.#remove(each, write);
    }
    for (const resolve of write.onExecuted ?? []) resolve();
    if (!mayFill) return;
    if (isNewest && isCurrent && !isOvertaken) {
      value.writtenBy = write.sequence;
      this.#fill(sid, value);
    } else this.#counters.fencedFills++;
  }

  /**
   * Begins a change of a session's expiry. A cached session stays, unless it would outlive its key.
   * @param expiresAt the new expiry, by performance.now()
   */
  beginTouch(sid: string, expiresAt: number): PendingTouch {
    const cached = this.#cache.peek(sid);
    if (cached === undefined || cached.expiresAt === undefined || cached.expiresAt > expiresAt)
      this.#drop(sid);
    this.#stale?.onTouch(sid, expiresAt);
    this.#touches.set(sid, expiresAt);
    return { sid, expiresAt, token: this.#tokenIfUsable(sid) };
  }

  /** Ends it. @param isExtended Redis confirms that the session exists and now expires later than before */
  endTouch({ sid, expiresAt, token }: PendingTouch, isExtended: boolean): void {
    this.#touches.delete(sid);
    if (!isExtended) this.#drop(sid);
    const cached = this.#cache.peek(sid);
    if (cached !== undefined && token !== undefined && this.#fence.isValid(token))
      cached.expiresAt = expiresAt;
  }

  #touchedTo(sid: string): number {
    return this.#touches.get(sid) ?? Number.POSITIVE_INFINITY;
  }

  /** Drops a session, and revokes the tokens of reads in flight. @returns whether it was cached */
  invalidate(sid: string): boolean {
    this.#stale?.delete(sid);
    return this.#drop(sid);
  }

  #drop(sid: string): boolean {
    this.#fence.revoke(sid);
    return this.#cache.delete(sid);
  }

  /** Messages about a session do not arrive any more: it is dropped, and what pending writes store is not cached. */
  onUnsubscribed(sid: string): void {
    for (const write of this.#writes[sid] ?? []) write.token = undefined;
    this.invalidate(sid);
  }

  /** Drops the sessions for which `isObsolete` holds, and revokes their tokens. */
  invalidateWhere(isObsolete: (sid: string, session: V) => boolean): void {
    for (const [sid, session] of [...this.#cache.entries(), ...(this.#stale?.entries() ?? [])])
      if (isObsolete(sid, session)) this.invalidate(sid);
  }

  /** Drops every session, and revokes all tokens. */
  invalidateAll(): void {
    this.#stale?.clear();
    this.#dropAll();
  }

  /**
   * Messages may have been missed: no session is served, and all tokens are revoked.
   * @param verifiedAt up to when no message was missed, by performance.now()
   */
  suspend(verifiedAt: number): void {
    this.#stale?.keep(this.#cache.entries(), verifiedAt);
    this.#dropAll();
  }

  #dropAll(): void {
    this.#fence.revokeAll();
    this.#cache.clear();
  }

  /** Drops every session, and is not used any more. */
  close(): void {
    this.#gate = NEVER_LIVE;
    this.invalidateAll();
  }

  /** This process's own message about a session has arrived: the position of one of its writes. */
  onOwnMessage(sid: string, sequence: number): void {
    const write = this.#writes[sid]?.find((pending) => pending.sequence === sequence);
    // Cached when the reply came first.
    if (write === undefined && this.#cache.peek(sid)?.writtenBy === sequence) return;
    this.invalidate(sid);
    // For another of its sessions; or a second primary's copy of the message, and only those of deletions are delivered twice.
    if (write === undefined || write.isPositioned) return;
    write.isPositioned = true;
    for (const resolve of write.onExecuted ?? []) resolve();
    const { token } = write;
    write.token = token !== undefined && this.#fence.isSameEpoch(token) ? this.#fence.take(sid) : undefined;
  }

  #newestWrite(sid: string): PendingWrite | undefined {
    return this.#writes[sid]?.at(-1);
  }

  /** A write of a session has ended. */
  #remove(sid: string, write: PendingWrite): void {
    const pending = this.#writes[sid] ?? [];
    const at = pending.indexOf(write);
    if (at < 0) return;
    if (pending.length === 1) delete this.#writes[sid];
    else pending.splice(at, 1);
  }

  #tokenIfUsable(sid: string): FillToken | undefined {
    return this.#gate.isLive(performance.now()) ? this.#fence.take(sid) : undefined;
  }

  /** A session's size has changed. */
  recount(sid: string, session: V): void {
    if (this.#cache.peek(sid) === session) this.#cache.resize(sid, this.#bytesOf(sid, session));
    this.#stale?.recount(sid, session);
  }

  #fill(sid: string, session: V): void {
    const now = performance.now();
    if (!this.#gate.isLive(now)) return;
    const leftMs = Math.min(session.expiresAt ?? Number.POSITIVE_INFINITY, this.#touchedTo(sid)) - now;
    if (leftMs <= 0) return;
    // An id is often a part of a whole Cookie header.
    this.#cache.set(standalone(sid), session, this.#bytesOf(sid, session), leftMs, now);
  }

  #bytesOf(sid: string, session: V): number {
    return session.bytes + sid.length + this.#entryBytes;
  }
}
