import { type SessionData, Store } from "express-session";
import { optionError } from "./reporting/errors.ts";
import type { IdentifiedSession } from "./reporting/types.ts";
import { type ReencodeOptions, type ReencodeProgress, reencode } from "./sessions/reencode.ts";
import type { ReindexOptions, ReindexProgress } from "./sessions/secondary-index.ts";
import { indexOf, type StoreParts } from "./store-parts.ts";

/** The methods of `ClusteredRedisStore` for many sessions: what applications and operators call, and express-session does not. */
export abstract class ManagedStore extends Store {
  /**
   * Not a private field of JavaScript: those do not exist on a Proxy of a store, nor on an object whose prototype is a store,
   * and applications wrap their stores in both ways. It is not enumerable.
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
   * The sessions whose index value is `value`, with their ids, the newest first. One whose value cannot be determined is skipped,
   * with the event `clusterError`.
   * @throws TypeError without `indexBy`, or when `value` is not a string of 1 to 1,024 characters
   */
  async sessionsOf(value: string): Promise<IdentifiedSession[]> {
    return indexOf(this.parts).list(value, "sessionsOf");
  }

  /** The number of sessions whose index value is `value`. Fails as `sessionsOf` does. */
  async countOf(value: string): Promise<number> {
    return (await indexOf(this.parts).list(value, "countOf")).length;
  }

  /**
   * Deletes the sessions that exist now and whose index value is `value` in all processes: a thousand at a time as one unit, in
   * Cluster each by itself. A request that is still running cannot restore one. Fails as `sessionsOf` does.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than it can be examined, 32 times in a row; all
   * others are deleted then
   */
  async destroyAllOf(value: string, { except }: { readonly except?: string } = {}): Promise<number> {
    return indexOf(this.parts).destroyAll(value, except);
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
