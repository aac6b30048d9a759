import type { SessionData } from "express-session";
import { isSid, MAX_SID_LENGTH } from "../invalidation/messages.ts";
import type { ResolvedOptions } from "../options/options.ts";
import type { Deadline } from "../redis/deadlines.ts";
import { describeArgument, optionError, SessionStoreError } from "../reporting/errors.ts";
import { formerIndexValue, indexValueOf, type ReadSession, requireStoredIndexValue } from "./index-value.ts";
import { isSameMaxAge, lifetimeMs, touchWindowMs } from "./lifetime.ts";
import { type LoadedState, LoadedStates, type ReplacedSession, type Version } from "./loaded-state.ts";
import { type MergeProposal, mergeSessions } from "./merge.ts";
import { decode, stringify } from "./serializer.ts";
import type { SessionOperations } from "./session-operations.ts";
import type { QueuedOperation, Work } from "./session-queue.ts";
import { isPromise, type StoredSession } from "./stored-session.ts";

/** A session's new expiry, as it stood when it was called. */
interface Extension {
  readonly sid: string;
  readonly session: SessionData;
  /** In milliseconds. */
  readonly lifetime: number;
  /** An earlier operation on the session was pending: what the request had loaded may be outdated. */
  readonly isBehind: boolean;
}

/** A save, likewise. */
interface Save extends Extension {
  readonly text: string;
  readonly indexValue: string | undefined;
  /** What was known of it; undefined if it was not stored, or if an earlier operation may change that. */
  readonly known: LoadedState | undefined;
  /** Whether it is what was known; undefined if nothing was. */
  readonly unchanged: boolean | Promise<boolean> | undefined;
  /** Whether, if it is unchanged, not even its expiry has to be moved. */
  readonly isNegligible: boolean;
  /** The deleted session that it replaces, if any. */
  readonly replaced: Promise<ReplacedSession | undefined> | undefined;
}

/**
 * The Session objects of requests, what is known of each, and what a save, a touch or a deletion does with that:
 *
 * - A loaded session is only ever updated. If it has been deleted since, by whatever process, it stays deleted. A new
 *   session, a plain object, and an object saved under another id are written whether or not the key exists.
 * - With an index, a new session that replaces a deleted one is not written if it has the same index value.
 * - With merging, a session is written over what it was loaded as, and merged if Redis holds something else.
 * - A save that changes nothing but the cookie's expiry (`resave: true`) becomes a touch.
 * - A touch that would extend the session's lifetime by next to nothing is skipped.
 *
 * express-session passes back the same objects that `createSession` made, so what is known of one is a hidden property of it.
 */
export class SessionTracker {
  /** What is known of the session objects of requests. */
  readonly states: LoadedStates;
  readonly #options: ResolvedOptions;
  readonly #operations: SessionOperations;
  /** The newest pending deletion of each session: how many sessions it deletes. */
  readonly #deletions = new Map<string, Promise<number>>();

  constructor(operations: SessionOperations) {
    this.#options = operations.options;
    this.#operations = operations;
    this.states = new LoadedStates(operations);
  }

  /** A private copy of a session: at once if it is cached; null if there is none. */
  load(sid: string): SessionData | null | Promise<SessionData | null> {
    const cached = this.#operations.cache.hit(sid);
    try {
      const session = cached === undefined ? this.#loadFromRedis(sid) : this.#copy(sid, cached);
      if (this.#options.onCorrupt === "error" || !isPromise(session)) return session;
      return session.catch(this.#noneIfCorrupt);
    } catch (error) {
      return this.#noneIfCorrupt(error);
    }
  }

  /** With `onCorrupt: "none"` a session that cannot be read is none, also one that this process has written. */
  readonly #noneIfCorrupt = (error: unknown): null => {
    const isCorrupt = error instanceof SessionStoreError && error.code === "ERR_SESSION_CORRUPT";
    if (this.#options.onCorrupt !== "none" || !isCorrupt) throw error;
    this.#operations.emit("clusterError", error);
    return null;
  };

  #loadFromRedis(sid: string): Promise<SessionData | null> {
    checkSid(sid);
    const written = this.#operations.cache.whenWritten(sid);
    if (written === undefined) return this.#operations.read(sid).then((stored) => this.#copy(sid, stored));
    return this.#operations.queue.run("get", sid, async () => {
      await written;
      return this.#copy(sid, this.#operations.cache.peek(sid) ?? (await this.#operations.read(sid)));
    });
  }

  /** A copy of `stored` that is about to be returned. */
  #copy(sid: string, stored: StoredSession | undefined): SessionData | null | Promise<SessionData> {
    if (stored === undefined) return null;
    const copy = this.#operations.copy(sid, stored);
    return isPromise(copy)
      ? copy.then((session) => this.states.addCopy(sid, session, stored))
      : this.states.addCopy(sid, copy, stored);
  }

  /** Writes a session; deletes it if its lifetime is over. */
  async save(sid: string, session: SessionData): Promise<void> {
    checkSid(sid);
    checkSession(session);
    const { ttl, indexBy, serializer } = this.#options;
    const operations = this.#operations;
    const lifetime = lifetimeMs(session, ttl, Date.now());
    if (lifetime <= 0) return this.#delete(sid, () => session);
    // If it throws, nothing is written: a session that is written must be found.
    const indexValue = indexBy && indexValueOf(indexBy, session);
    // Now: the session belongs to the request, and may change as soon as this returns.
    const text = stringify(operations.format, sid, session);
    // Other serializers may create objects of the same classes again.
    if (indexBy && serializer === JSON) requireStoredIndexValue(indexBy, text, indexValue);
    const isBehind = operations.queue.isBusy(sid);
    const known = isBehind ? undefined : this.states.stored(sid, session);
    const unchanged = known && this.states.isUnchanged(known, text);
    if (unchanged === true) {
      const extending = this.#extend(sid, session, lifetime);
      if (extending !== undefined) await extending;
      return;
    }
    // Before the write begins, which drops the cached session.
    const isNegligible =
      typeof unchanged === "object" && this.#isNegligible({ sid, session, lifetime, isBehind });
    // Not spread from what all operations have in common: that was measured to take V8 5 µs.
    const save: Save = {
      sid,
      session,
      text,
      lifetime,
      isBehind,
      indexValue,
      known,
      unchanged,
      isNegligible,
      replaced: this.states.replacedBy(session),
    };
    const execute: Work<boolean> = (deadline, queued) => this.#executeSave(deadline, queued, save);
    await operations.queue.write(sid, execute, text.length);
  }

  /** Executes a save when all earlier operations of the session have settled. @returns whether the session exists */
  async #executeSave(deadline: Deadline, queued: QueuedOperation, save: Save): Promise<boolean> {
    const { sid, session, text, lifetime, indexValue } = save;
    const { indexBy, disableTTL, merge } = this.#options;
    // Nothing is awaited without need: each turn of the microtask queue costs every save.
    const deleted = save.replaced && (await save.replaced);
    if (deleted?.indexValue !== undefined && deleted.indexValue === indexValue) return this.#refuse(sid);
    // Earlier saves that were pending may have changed what is known.
    const state = save.known ?? this.states.stored(sid, session);
    const unchanged = save.unchanged ?? (state !== undefined && this.states.isUnchanged(state, text));
    if (typeof unchanged === "boolean" ? unchanged : await unchanged)
      return save.isNegligible || this.#executeTouch(deadline, queued, save);
    const ttlMs = disableTTL ? undefined : lifetime;
    const from = indexBy && state && formerIndexValue(indexBy, () => this.#operations.parse(sid, state.base));
    const index = indexBy && { to: indexValue, from };
    const attempts: Version[] = [];
    try {
      let stored: StoredSession | undefined;
      if (state !== undefined && merge !== undefined) {
        const propose = (current: string) => this.#merged(state, current, { text, ttlMs, index });
        const onAttempt = (current: string, value: string) => attempts.push({ base: text, current, value });
        const merging = { sid, expected: state.value as string, propose, onAttempt };
        stored = await this.#operations.merge(deadline, queued, merging);
      } else {
        attempts.push({ base: text, current: text, value: undefined });
        const write = { sid, mustExist: state !== undefined, text, ttlMs, index };
        stored = await this.#operations.write(deadline, queued, write);
      }
      if (stored === undefined) return this.#refuse(sid);
      this.states.setSaved(sid, session, text, stored);
    } catch (error) {
      // Redis may have executed it all the same.
      if (state !== undefined) this.states.addAttempts(session, state, attempts);
      throw error;
    }
    if (deleted !== undefined && indexBy === undefined) {
      this.states.onReplacementReported(session);
      this.#operations.emit("resurrection", sid);
    }
    return true;
  }

  /** Drops a session from the cache. @returns whether it was cached */
  evict(sid: string): boolean {
    checkSid(sid);
    return this.#operations.cache.invalidate(sid);
  }

  /** Deletes a session. */
  async destroy(sid: string): Promise<void> {
    checkSid(sid);
    const cached = this.#options.indexBy && this.#operations.cache.peek(sid);
    await this.#delete(sid, cached && (() => this.#operations.copy(sid, cached)));
  }

  async #delete(sid: string, read: ReadSession | undefined): Promise<void> {
    const { indexBy } = this.#options;
    const indexValue = indexBy && read && formerIndexValue(indexBy, read);
    const deletion = this.#operations.delete({ sids: [sid], indexValue }, "destroy");
    this.#deletions.set(sid, deletion);
    try {
      await deletion;
    } finally {
      if (this.#deletions.get(sid) === deletion) this.#deletions.delete(sid);
    }
  }

  /** The newest pending deletion of a session: how many sessions it deletes. */
  deletionOf(sid: string): Promise<number> | undefined {
    return this.#deletions.get(sid);
  }

  /** Moves a session's expiry to what its cookie says. @returns undefined if there is nothing to do */
  touch(sid: string, session: SessionData): Promise<unknown> | undefined {
    checkSid(sid);
    checkSession(session);
    const { disableTouch, ttl } = this.#options;
    return disableTouch ? undefined : this.#extend(sid, session, lifetimeMs(session, ttl, Date.now()));
  }

  #extend(sid: string, session: SessionData, lifetime: number): Promise<unknown> | undefined {
    if (this.#options.disableTTL) return undefined;
    if (lifetime <= 0) return this.#delete(sid, () => session);
    if (this.#operations.stale?.skipsTouch(sid) === true) return undefined;
    const extension: Extension = { sid, session, lifetime, isBehind: this.#operations.queue.isBusy(sid) };
    if (!extension.isBehind && this.#isNegligible(extension)) return undefined;
    const execute: Work<boolean> = (deadline, queued) => this.#executeTouch(deadline, queued, extension);
    return this.#operations.queue.enqueue("touch", [sid], execute);
  }

  /** Executes a touch, likewise. @returns whether the session exists */
  async #executeTouch(deadline: Deadline, queued: QueuedOperation, extension: Extension): Promise<boolean> {
    const { sid, session, lifetime, isBehind } = extension;
    const { disableTTL, indexBy } = this.#options;
    if (disableTTL || (isBehind && this.#isNegligible(extension))) return true;
    const state = this.states.of(sid, session);
    const isNews = state === undefined || !isSameMaxAge(state.maxAge, session.cookie?.originalMaxAge);
    const known = indexBy && (this.#operations.cache.peek(sid) ?? state)?.value;
    const touch = { sid, ttlMs: lifetime, isNews };
    const expiresAt = await this.#operations.touch(deadline, queued, touch, known);
    if (expiresAt === undefined) {
      if (state?.isStored) this.#refuse(sid);
    } else if (state !== undefined) this.states.set(session, { ...state, expiresAt });
    return expiresAt !== undefined;
  }

  /** Whether a touch would move the session's expiry by less than `touchAfterMs`. */
  #isNegligible({ sid, session, lifetime, isBehind }: Extension): boolean {
    const { cache } = this.#operations;
    // A message has dropped it since it was loaded: the expiry that was loaded may no longer be the key's.
    const known = cache.peek(sid) ?? (isBehind || cache.isUsable ? undefined : this.states.of(sid, session));
    if (known?.expiresAt === undefined) return false;
    const moved = performance.now() + lifetime - known.expiresAt;
    return Math.abs(moved) < touchWindowMs(lifetime, this.#options.touchAfterMs);
  }

  /** A request saved or touched a session that was deleted after it had been loaded. @returns false */
  #refuse(sid: string): false {
    this.#operations.counters.resurrections++;
    this.#operations.emit("resurrection", sid);
    return false;
  }

  /** What to write over the value `found`, for a request that started from `state`. */
  async #merged(state: LoadedState, found: string, proposal: MergeProposal): Promise<MergeProposal> {
    const { ttl, merge, disableTTL, indexBy } = this.#options;
    const { sid } = state;
    // A save of the same object whose outcome was unknown has been executed: it is no other writer's.
    const version = [...state.attempts, state].find(({ value }) => value === found);
    const { base } = version ?? state;
    let versions: SessionData[];
    try {
      const current = version?.current ?? decode(this.#operations.format, sid, found);
      if (current === base) return proposal;
      const texts = [base, current, proposal.text];
      versions = await Promise.all(texts.map((text) => this.#operations.parse(sid, text)));
    } catch {
      // A value that is not a session cannot be merged, and must not block the save that replaces it.
      return proposal;
    }
    const [loaded, theirs, ours] = versions as [SessionData, SessionData, SessionData];
    const merged = mergeSessions(loaded, theirs, ours, merge?.resolve);
    const from = indexBy && formerIndexValue(indexBy, () => theirs);
    return {
      text: stringify(this.#operations.format, sid, merged),
      ttlMs: disableTTL ? undefined : Math.max(1, lifetimeMs(merged, ttl, Date.now())),
      index: indexBy && { to: indexValueOf(indexBy, merged), from },
    };
  }
}

/** @throws TypeError; it does not show a string that may be a session id */
function checkSid(sid: unknown): asserts sid is string {
  if (isSid(sid)) return;
  const expected = `a string of 1 to ${MAX_SID_LENGTH} characters`;
  if (typeof sid !== "string" || sid === "") throw optionError("sid", expected, sid);
  const got = sid.length > MAX_SID_LENGTH ? `${sid.length} characters` : "a string with a lone surrogate";
  throw optionError("sid", expected, sid, got);
}

/** @throws TypeError */
function checkSession(session: unknown): void {
  if (isPromise(session)) {
    // Its JSON, {}, would replace the session.
    const got = `${describeArgument(session)}: did you forget await?`;
    throw optionError("session", "an object", session, got);
  }
  if (session !== null && typeof session === "object") return;
  throw optionError("session", "an object", session, describeArgument(session));
}
