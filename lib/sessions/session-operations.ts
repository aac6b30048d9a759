import type { SessionData } from "express-session";
import { LocalCache } from "../cache/local-cache.ts";
import { NearCache } from "../cache/near-cache.ts";
import type { ClusterCoordinator } from "../invalidation/coordinator.ts";
import type { OutgoingMessage } from "../invalidation/types.ts";
import type { ResolvedOptions } from "../options/options.ts";
import type { Serializer } from "../options/types.ts";
import { type Deadline, Deadlines } from "../redis/deadlines.ts";
import type { Announcement } from "../redis/executor.ts";
import { type IndexChange, IndexCommands } from "../redis/index-commands.ts";
import { SessionCommands, type SidsPage } from "../redis/session-commands.ts";
import type { Topology } from "../redis/topology.ts";
import { topologyOf } from "../redis/topology-of.ts";
import { type StoreOperation, traced } from "../reporting/diagnostics.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import { coordinatorOf, type SessionHandlers } from "./session-messages.ts";
import { StoredSession } from "./stored-session.ts";

/** What is to be written, and what becomes of the index, if there is one. */
export interface Draft {
  readonly text: string;
  readonly change: IndexChange | undefined;
}

/** The method by which sessions are deleted, as other processes are told. */
export type DestroyReason = "destroy" | "destroyWhere" | "destroyAllOf" | "clear";

/** After so many conflicts in one write, whatever writes there does not let anybody else. */
const MOST_CONFLICTS = 32;

/**
 * The sessions that all processes share: in Redis, and in the memory of this one. Here the parts are tied together, each
 * operation once: the cache's rule around it, the message with it, Redis behind it, and a deadline over all.
 */
export class SharedSessions {
  readonly localCache: LocalCache<StoredSession>;
  readonly coordinator: ClusterCoordinator | undefined;
  /** Undefined without `indexBy`. */
  readonly index: IndexCommands | undefined;
  readonly #serializer: Serializer;
  readonly #topology: Topology;
  readonly #commands: SessionCommands;
  readonly #deadlines: Deadlines;
  readonly #near: NearCache<StoredSession>;
  #conflicts = 0;
  readonly #told: SessionHandlers;
  #isClosed = false;

  constructor(options: ResolvedOptions, handlers: SessionHandlers) {
    this.#told = handlers;
    const { scanCount, localCache, cluster, commandTimeoutMs, serializer } = options;
    this.#serializer = serializer;
    this.#deadlines = new Deadlines(commandTimeoutMs);
    this.#topology = topologyOf(options);
    this.#commands = new SessionCommands(this.#topology, scanCount);
    this.index = options.indexBy && new IndexCommands(this.#topology);
    this.localCache = new LocalCache(localCache);
    const coordinator = cluster && coordinatorOf(cluster, this.#topology, () => this.#near, handlers);
    this.coordinator = coordinator;
    this.#near = new NearCache(this.localCache, (now) => {
      return localCache !== undefined && !this.#isClosed && (coordinator?.isLive(now) ?? true);
    });
    coordinator?.start();
  }

  get fencedFills(): number {
    return this.#near.fencedFills;
  }

  /** How often a write found that another had come before it. */
  get conflicts(): number {
    return this.#conflicts;
  }

  /** The key of a session, as errors name it. */
  keyOf(sid: string): string {
    return this.#topology.fullPrefix + sid;
  }

  /** What may be served from memory. */
  hit(sid: string): StoredSession | undefined {
    return this.#near.hit(sid);
  }

  /** What is in memory, not counted as a read. */
  peek(sid: string): StoredSession | undefined {
    return this.#near.peek(sid);
  }

  /** A session from Redis, of which it is known that it can be parsed; it is in memory from then on. */
  read(sid: string): Promise<StoredSession | undefined> {
    return this.#near.read(sid, () =>
      this.#trip(
        "get",
        sid,
        async (deadline) => {
          const value = await this.#commands.read(deadline, sid);
          const session = value && this.#stored(sid, value.text, value.expiresAt);
          await session?.parse();
          return session;
        },
        (session) => session !== undefined,
      ),
    );
  }

  /** What a text is as a session. Fails as `StoredSession.copy` does. */
  async parse(sid: string, text: string): Promise<SessionData> {
    const session = await this.#stored(sid, text, undefined).copy();
    return session ?? ({} as SessionData);
  }

  /** Those of the sessions that there are, from Redis, past the memory. */
  async readAll(sids: readonly string[]): Promise<{ sid: string; stored: StoredSession }[]> {
    const values = await this.#trip("get many", undefined, (deadline) =>
      this.#commands.readMany(deadline, sids),
    );
    return sids.flatMap((sid, i) => {
      const value = values[i];
      return value === undefined ? [] : [{ sid, stored: this.#stored(sid, value.text, value.expiresAt) }];
    });
  }

  /**
   * Writes a session.
   * @param ttlMs undefined for one that never expires
   * @param mustExist whether it is left out if there is no such session any more
   * @param change what becomes of the index, if there is one
   * @returns what stands in Redis now; undefined if it was left out
   */
  write(
    sid: string,
    text: string,
    ttlMs: number | undefined,
    mustExist: boolean,
    change?: IndexChange,
  ): Promise<StoredSession | undefined> {
    return this.#writeWith(sid, ttlMs, async (deadline, announcement) => {
      const save = { sid, text, ttlMs, mustExist, index: this.#indexChange(change) };
      return (await this.#commands.write(deadline, save, announcement)) ? text : undefined;
    });
  }

  /**
   * Writes a session over what it is known to be, merging it with what others have written meanwhile.
   * @param expected what Redis held when it was last seen
   * @param proposal what to write when Redis holds `held`; `expected`, at first
   * @returns what stands in Redis now; undefined if there is no such session any more
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` after MOST_CONFLICTS
   */
  merge(
    sid: string,
    ttlMs: number | undefined,
    expected: string,
    proposal: (held: string) => Draft | Promise<Draft>,
  ): Promise<StoredSession | undefined> {
    const mergeWith = async (deadline: Deadline, announcement: Announcement | undefined) => {
      let held = expected;
      for (let conflicts = 0; conflicts <= MOST_CONFLICTS; conflicts++) {
        const { text, change } = await proposal(held);
        const replacement = { sid, expected: held, text, ttlMs, index: this.#indexChange(change) };
        const result = await this.#commands.replace(deadline, replacement, announcement);
        if (result.written) return text;
        if (result.current === null) return undefined;
        held = result.current;
        this.#conflicts++;
      }
      const message = `The session "${this.keyOf(sid)}" was written by others ${MOST_CONFLICTS} times in a row meanwhile`;
      throw new SessionStoreError("ERR_SESSION_CONFLICT", message);
    };
    return this.#writeWith(sid, ttlMs, mergeWith, (text) => text !== undefined);
  }

  /** @param carryOut resolves with the text that it wrote, or undefined for none */
  #writeWith(
    sid: string,
    ttlMs: number | undefined,
    carryOut: (deadline: Deadline, announcement: Announcement | undefined) => Promise<string | undefined>,
    isPublished?: (text: string | undefined) => boolean,
  ): Promise<StoredSession | undefined> {
    const expiresAt = ttlMs === undefined ? undefined : Date.now() + ttlMs;
    const message = this.coordinator?.announce({ type: "SessionInvalidated", sids: [sid] });
    return this.#near.write(sid, async () => {
      const text = await this.#announced(
        message,
        (announcement) =>
          this.#trip(
            "set",
            sid,
            (deadline) => carryOut(deadline, announcement),
            (text) => text !== undefined,
          ),
        isPublished,
      );
      return text === undefined ? undefined : this.#stored(sid, text, expiresAt);
    });
  }

  /**
   * Gives a session another end. Copies elsewhere end no later than the key did, so the others are told only if that was
   * later than it is now.
   * @param indexChange what becomes of the index, if there is one
   * @returns when it ends now; undefined if there is no such session
   */
  async expire(sid: string, ttlMs: number, indexChange?: IndexChange): Promise<number | undefined> {
    const expiresAt = Date.now() + ttlMs;
    const message = this.coordinator?.announce({ type: "SessionInvalidated", sids: [sid] });
    const change = await this.#near.expire(sid, expiresAt, () =>
      this.#announced(
        message,
        (announcement) =>
          this.#trip(
            "touch",
            sid,
            (deadline) =>
              this.#commands.touch(
                deadline,
                { sid, ttlMs, index: this.#indexChange(indexChange) },
                announcement,
              ),
            (change) => change !== "none",
          ),
        (change) => change === "earlier",
      ),
    );
    return change === "none" ? undefined : expiresAt;
  }

  /**
   * Deletes sessions.
   * @param reason the method that does it
   * @param from the value of the index that they were found by, if that is known
   * @returns how many of them there were
   */
  async delete(sids: readonly string[], reason: DestroyReason, from?: string): Promise<number> {
    const indexValue = this.index && from;
    const deleteGroup = (group: readonly string[]) => {
      const only = group.length === 1 ? group[0] : undefined;
      const message = this.coordinator?.announce({ type: "SessionDeleted", sids: group, reason });
      return this.#announced(message, (announcement) =>
        this.#trip("destroy", only, (deadline) =>
          this.#commands.delete(deadline, { sids: group, indexValue }, announcement),
        ),
      );
    };
    const counts = await this.#near.remove(sids, () =>
      Promise.all(this.#commands.batches(sids).map(deleteGroup)),
    );
    if (reason !== "clear") this.#told.destroyed(sids, this.coordinator?.nodeId ?? "", reason);
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Deletes all sessions, and lets every process forget even those that Redis had no more. */
  async clear(): Promise<void> {
    const clearing = <T>(trip: (announcement: Announcement | undefined) => Promise<T>) =>
      this.#near.remove("all", () =>
        this.#announced(this.coordinator?.announce({ type: "CacheClear" }), trip),
      );
    for await (const { sids } of this.pages()) {
      if (sids.length === 0) continue;
      // In Cluster each goes out by itself, and need not make everybody forget everything.
      if (!this.#topology.combinesKeys) await this.delete(sids, "clear");
      else {
        await clearing((announcement) =>
          this.#trip("clear", undefined, (deadline) =>
            this.#commands.delete(deadline, { sids, indexValue: undefined }, announcement),
          ),
        );
      }
    }
    await clearing(async (announcement) => {
      if (announcement === undefined) return;
      await this.#trip("clear", undefined, (deadline) => this.#commands.publish(deadline, announcement));
    });
  }

  /** The ids of all sessions, in batches; one may come twice. @param from the `next` of an earlier page */
  pages(from?: string): AsyncGenerator<SidsPage> {
    return this.#commands.pages((trip) => this.#trip("scan", undefined, trip), from);
  }

  ping(): Promise<void> {
    return this.#trip("ping", undefined, (deadline) => this.#commands.ping(deadline));
  }

  /** Forgets a session in this process. @returns whether it was in memory */
  forget(sid: string): boolean {
    return this.#near.forget(sid);
  }

  /** Runs `work` under the deadline of every operation. @param what names it in the error */
  within<T>(what: string, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    return this.#deadlines.run(what, work);
  }

  /** Stops listening and forgets everything; resolves when all that is under way has been answered. */
  close(): Promise<void> {
    this.#isClosed = true;
    this.coordinator?.close();
    this.#near.forgetAll();
    return this.#deadlines.settled();
  }

  /** Undefined without an index. */
  #indexChange(change: IndexChange | undefined): IndexChange | undefined {
    return this.index && change;
  }

  /**
   * Carries out a write with its message, and tells the coordinator what became of that.
   * @param isPublished whether, going by the result, Redis has published it
   */
  async #announced<T>(
    message: OutgoingMessage | undefined,
    carryOut: (announcement: Announcement | undefined) => Promise<T>,
    isPublished: (result: T) => boolean = () => true,
  ): Promise<T> {
    let hasPublished = false;
    try {
      const result = await carryOut(message);
      hasPublished = isPublished(result);
      return result;
    } finally {
      message?.ended(hasPublished);
    }
  }

  /** Goes to Redis: under the deadline of every operation, and told to whoever traces. */
  #trip<T>(
    operation: StoreOperation["operation"],
    sid: string | undefined,
    work: (deadline: Deadline) => Promise<T>,
    isFound?: (result: T) => boolean,
  ): Promise<T> {
    const what = sid === undefined ? operation : `${operation} ${this.keyOf(sid)}`;
    return traced(operation, sid, this.coordinator?.nodeId ?? "", () => this.within(what, work), isFound);
  }

  #stored(sid: string, text: string, expiresAt: number | undefined): StoredSession {
    return new StoredSession(this.#serializer, this.keyOf(sid), text, expiresAt);
  }
}
