import type { NearCache, PendingWrite } from "../cache/near-cache.ts";
import type { SessionChannels } from "../invalidation/session-channels.ts";
import type { Deadline } from "../redis/deadlines.ts";
import type { SessionCommands } from "../redis/session-commands.ts";
import type { StoredValue } from "../redis/session-values.ts";
import type { StoredSession } from "./stored-session.ts";

/**
 * Keeps every cached session subscribed: a reply is cached only if its session was subscribed when Redis executed the read, and
 * a written session only if it was subscribed when Redis executed the write.
 */
export class SubscribedFill {
  readonly #sessions: SessionChannels | undefined;
  readonly #commands: SessionCommands;
  readonly #cache: NearCache<StoredSession>;

  /** @param sessions undefined if nothing invalidates the cache from outside */
  constructor(
    sessions: SessionChannels | undefined,
    commands: SessionCommands,
    cache: NearCache<StoredSession>,
  ) {
    this.#sessions = sessions;
    this.#commands = commands;
    this.#cache = cache;
  }

  /**
   * Reads a session. One that may be cached is read on the subscriber's connection, together with SUBSCRIBE. Where that is not
   * possible, the client reads it once Redis has acknowledged the subscription; and where nothing acknowledges it, or Redis
   * tracks what is read there, the reply is not cached.
   */
  async read(deadline: Deadline, sid: string, mayFill: boolean): Promise<StoredValue | undefined> {
    if (!mayFill || this.#sessions === undefined) return this.#commands.read(deadline, sid);
    const result = await this.#sessions.read(sid, this.#commands.subscribedRead(sid));
    if (result !== undefined && result.value !== "long") return result.value;
    // Nor may anybody join this read: later callers may know of later writes.
    const mayFillHere = !this.#sessions.isTracked(sid) && (await this.#sessions.subscribe(sid));
    if (!mayFillHere) this.#cache.invalidate(sid);
    return this.#commands.read(deadline, sid);
  }

  /**
   * Subscribes to a session that is about to be written. If that fails, or Redis tracks only what is read, what is written will
   * not be cached.
   * @returns undefined if there is nothing to wait for
   */
  prepare(deadline: Deadline, sid: string, pending: PendingWrite): Promise<void> | undefined {
    if (pending.token === undefined || this.#sessions === undefined) return undefined;
    if (this.#sessions.isTracked(sid)) {
      pending.token = undefined;
      return undefined;
    }
    const isSubscribed = this.#sessions.subscribe(sid);
    return isSubscribed === true ? undefined : this.#whenSubscribed(deadline, isSubscribed, pending);
  }

  async #whenSubscribed(
    deadline: Deadline,
    isSubscribed: boolean | Promise<boolean>,
    pending: PendingWrite,
  ): Promise<void> {
    if (!(await isSubscribed)) pending.token = undefined;
    if (deadline.passed) throw new Error("It took too long to subscribe");
  }
}
