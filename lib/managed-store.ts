import { type SessionData, Store } from "express-session";
import { optionError } from "./reporting/errors.ts";
import type { IdentifiedSession, UserSession } from "./reporting/types.ts";
import { type ReencodeOptions, type ReencodeProgress, reencode } from "./sessions/reencode.ts";
import type {
  DestroyAllOptions,
  ReindexOptions,
  ReindexProgress,
  SecondaryIndex,
} from "./sessions/secondary-index.ts";
import type { StoreParts } from "./store-parts.ts";

/** The methods of `ClusteredRedisStore` for many sessions: what applications and operators call, and express-session does not. */
export abstract class ManagedStore extends Store {
  /**
   * Not a private field of JavaScript: those do not exist on a Proxy of a store, nor on an object whose prototype is a store,
   * and applications wrap their stores in both ways. It is not enumerable.
   * @hidden
   */
  declare protected readonly parts: StoreParts;

  /**
   * Streams all sessions, never all in memory. One that exists throughout appears at least once, perhaps twice. One that
   * cannot be parsed is skipped, with the event `clusterError`.
   */
  sessions(): AsyncGenerator<IdentifiedSession> {
    return this.parts.scan.stream();
  }

  /**
   * Deletes the sessions for which `predicate` holds in all processes, in batches. One that changes after the predicate has seen
   * it is passed to the predicate again.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than that, 32 times in a row
   */
  destroyWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    return this.parts.scan.deleteWhere(predicate);
  }

  /**
   * The sessions whose index value is `value`, the newest first. One whose value cannot be determined is skipped, with the event
   * `clusterError`.
   * @throws TypeError without `indexBy`, or when `value` is not a string of 1 to 1,024 characters
   */
  async sessionsOf(value: string): Promise<UserSession[]> {
    const found: UserSession[] = [];
    for await (const session of this.eachSessionOf(value)) found.push(session);
    return found;
  }

  /** The same as `sessionsOf`, a batch at a time: the ids of all these sessions are in memory at once, the sessions never. */
  eachSessionOf(value: string): AsyncGenerator<UserSession> {
    return indexOf(this.parts).stream(value);
  }

  /**
   * The number of sessions whose index value is `value`, without reading them: of those that the index names, the ones that
   * exist. One that a process gave another value without having loaded it counts until `sessionsOf` is called; in Redis
   * Cluster, any that was given another value. Fails as `sessionsOf` does.
   */
  async countOf(value: string): Promise<number> {
    return indexOf(this.parts).count(value);
  }

  /**
   * Deletes the session with this `publicId` in all processes, if its index value is `value`: nobody can end somebody else's.
   * Fails as `sessionsOf` does.
   * @returns whether there was one
   */
  async destroyOf(value: string, publicId: string): Promise<boolean> {
    return indexOf(this.parts).destroyOne(value, publicId);
  }

  /**
   * Deletes the sessions that exist now and whose index value is `value` in all processes: a thousand at a time as one unit, in
   * Cluster each by itself. A request that is still running cannot restore one. One that cannot be decoded or parsed is
   * deleted, too. Fails as `sessionsOf` does.
   *
   * `except` and the `keepNewest` newest stay; both together leave at most `keepNewest` sessions, `except` among them. Call it
   * with `keepNewest` after a login, once the session is saved.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than it can be examined, 32 times in a row; all
   * others are deleted then
   */
  async destroyAllOf(value: string, options: DestroyAllOptions = {}): Promise<number> {
    return indexOf(this.parts).destroyAll(value, options);
  }

  /**
   * Adds sessions to the index that were written before `indexBy` was set in all processes. It can be stopped at any time,
   * resumed, and repeated; sessions can be used meanwhile. One whose index value cannot be determined is skipped, with the
   * event `clusterError`.
   * @throws TypeError without `indexBy`, or for an invalid cursor
   */
  async reindex(options: ReindexOptions = {}): Promise<ReindexProgress> {
    return indexOf(this.parts).reindex(options);
  }

  /**
   * Encodes all sessions with the current `codec`: after keys were rotated, for example. Each is replaced only if nobody has
   * written it meanwhile, so that a deleted one stays deleted; no expiry changes. It can be stopped at any time, resumed, and
   * repeated; sessions can be used meanwhile. One that cannot be decoded is skipped, with the event `clusterError`.
   * @throws TypeError without `codec`, or for an invalid cursor
   */
  async reencode(options: ReencodeOptions = {}): Promise<ReencodeProgress> {
    const { operations, emit } = this.parts;
    if (operations.format.codec === undefined) {
      throw optionError("codec", "a codec, which this method needs", undefined);
    }
    return reencode(operations, emit, options);
  }
}

/** @throws TypeError without `indexBy` */
function indexOf({ index }: StoreParts): SecondaryIndex {
  if (index !== undefined) return index;
  throw new TypeError("indexBy: expected a function of the session, which this method needs, got undefined");
}
