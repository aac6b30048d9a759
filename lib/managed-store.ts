import { type SessionData, Store } from "express-session";
import { optionError } from "./reporting/errors.ts";
import type { IdentifiedSession, UserSession } from "./reporting/types.ts";
import type {
  DestroyAllOptions,
  ReindexOptions,
  ReindexProgress,
  SecondaryIndex,
} from "./sessions/secondary-index.ts";
import type { ReencodeOptions, ReencodeProgress } from "./sessions/session-scan.ts";
import type { StoreParts } from "./store-parts.ts";

/** The methods of `ClusteredRedisStore` for many sessions. Applications and operators call them, express-session does not. */
export abstract class ManagedStore extends Store {
  /**
   * Not a private field of JavaScript: those do not exist on a Proxy of a store, nor on an object whose prototype is a store,
   * and applications wrap their stores in both ways. It is not enumerable.
   * @hidden
   */
  declare protected readonly parts: StoreParts;

  /**
   * Streams all sessions, a batch in memory at a time. A session that exists throughout appears at least once, perhaps twice.
   * One that cannot be parsed is skipped, with the event `clusterError`.
   */
  sessions(): AsyncGenerator<IdentifiedSession> {
    return this.parts.scan.stream();
  }

  /**
   * Deletes, in all processes, the sessions for which `predicate` returns true, in batches. A session that changes before it is
   * deleted is passed to the predicate again.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if a session changes that way 32 times in a row
   */
  destroyWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    return this.parts.scan.deleteWhere(predicate);
  }

  /**
   * Returns the sessions whose index value is `value`, newest first. One whose value cannot be determined is skipped, with the
   * event `clusterError`.
   * @throws TypeError without `indexBy`, or when `value` is not a string of 1 to 1,024 characters
   */
  async sessionsOf(value: string): Promise<UserSession[]> {
    const found: UserSession[] = [];
    for await (const session of this.eachSessionOf(value)) found.push(session);
    return found;
  }

  /** Streams what `sessionsOf` returns, a batch in memory at a time; only the ids are all in memory at once. */
  eachSessionOf(value: string): AsyncGenerator<UserSession> {
    return indexOf(this.parts).stream(value);
  }

  /**
   * Returns the number of existing sessions that the index lists for `value`, without reading them. A session whose value has
   * changed since counts until `sessionsOf` is called: in Redis Cluster always, otherwise only if the process that changed it had
   * not loaded it. Fails as `sessionsOf` does.
   */
  async countOf(value: string): Promise<number> {
    return indexOf(this.parts).count(value);
  }

  /**
   * Deletes, in all processes, the session with this `publicId`, but only if its index value is `value`, so no user can end
   * another user's session. Fails as `sessionsOf` does.
   * @returns whether there was one
   */
  async destroyOf(value: string, publicId: string): Promise<boolean> {
    return indexOf(this.parts).destroyOne(value, publicId);
  }

  /**
   * Deletes, in all processes, the sessions that exist now and whose index value is `value`: up to a thousand as one unit, in
   * Cluster each by itself. A request that is still running cannot restore one. A session that cannot be decoded or parsed is
   * also deleted. Fails as `sessionsOf` does.
   *
   * `except` and the `keepNewest` newest sessions stay; with both, at most `keepNewest` stay, `except` among them. With
   * `keepNewest`, call it after a login, once the session is saved.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if a session changes 32 times in a row before it can be deleted; all others
   * are deleted then. TypeError for wrong options, unknown names among them: nothing is deleted then
   */
  async destroyAllOf(value: string, options: DestroyAllOptions = {}): Promise<number> {
    return indexOf(this.parts).destroyAll(value, options);
  }

  /**
   * Adds to the index the sessions that were written before `indexBy` was set in all processes. It can be stopped at any time,
   * resumed, and repeated; sessions can be used meanwhile. One whose index value cannot be determined is skipped, with the
   * event `clusterError`.
   * @throws TypeError without `indexBy`, or for an invalid cursor
   */
  async reindex(options: ReindexOptions = {}): Promise<ReindexProgress> {
    return indexOf(this.parts).reindex(options);
  }

  /**
   * Encodes all sessions with the current `codec`, for example after keys were rotated. A session is replaced only if nobody has
   * written it meanwhile, so a deleted one stays deleted; no expiry changes. It can be stopped at any time, resumed, and
   * repeated; sessions can be used meanwhile. One that cannot be decoded is skipped, with the event `clusterError`.
   * @throws TypeError without `codec`, or for an invalid cursor
   */
  async reencode(options: ReencodeOptions = {}): Promise<ReencodeProgress> {
    const { operations, scan } = this.parts;
    if (operations.format.codec === undefined) {
      throw optionError("codec", "a codec, which this method needs", undefined);
    }
    return scan.reencode(options);
  }
}

/** @throws TypeError without `indexBy` */
function indexOf({ index }: StoreParts): SecondaryIndex {
  if (index !== undefined) return index;
  throw optionError("indexBy", "a function of the session, which this method needs", undefined);
}
