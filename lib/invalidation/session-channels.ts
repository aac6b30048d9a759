import type { Deadline } from "../redis/deadlines.ts";
import type { SubscribedRead } from "../redis/session-values.ts";
import { type Announcements, sha256 } from "./announcements.ts";
import type { PrimaryListener } from "./primary-listener.ts";
import type { SessionSubscriptions } from "./session-subscriptions.ts";
import type { ClusterCoordinatorOptions, OutgoingMessage } from "./types.ts";

/** Characters of a channel's hash: 132 bits. */
const HASH_LENGTH = 22;

/**
 * The channels of sessions: one for each, on which every write of it is published, and to which the processes subscribe that
 * cache it. Every cached session is subscribed at the primary that holds it.
 */
export class SessionChannels {
  /** Those of all primaries. For the coordinator to set. */
  listeners: readonly PrimaryListener[] = [];
  readonly #options: ClusterCoordinatorOptions;
  readonly #announcements: Announcements;
  /** Of the last call of `channelOf`: a write needs the name twice. */
  #lastSid: string | undefined;
  #lastChannel = "";

  constructor(options: ClusterCoordinatorOptions, announcements: Announcements) {
    this.#options = options;
    this.#announcements = announcements;
  }

  /** How many sessions this process is subscribed to. */
  get size(): number {
    return this.listeners.reduce((sum, { sessions }) => sum + (sessions?.size ?? 0), 0);
  }

  /** The id of the session with this channel, if this process is subscribed to it. */
  sidOf(channel: string): string | undefined {
    for (const { sessions } of this.listeners) {
      const sid = sessions?.sidOf(channel);
      if (sid !== undefined) return sid;
    }
    return undefined;
  }

  /** Drops the sessions whose slots have moved to other primaries. */
  dropMoved(): void {
    for (const { primary, sessions } of this.listeners) sessions?.dropMoved((sid) => primary.holds(sid));
  }

  /** The name of a session's channel, which contains a hash instead of the id. */
  channelOf(sid: string): string {
    if (sid !== this.#lastSid) {
      this.#lastSid = sid;
      this.#lastChannel = this.#subscriptionsOf(sid)?.channelOf(sid) ?? this.#name(sid);
    }
    return this.#lastChannel;
  }

  #name(sid: string): string {
    const { channel, topology } = this.#options;
    const hash = sha256(topology.fullPrefix + sid).slice(0, HASH_LENGTH);
    return `${channel}:${topology.channelTagOf(sid) ?? ""}${hash}`;
  }

  /** The message for a write of a session that is about to be sent. @param deadline the write's */
  announce(sid: string, deadline: Deadline): OutgoingMessage {
    return this.#announcements.ofWrite(this.channelOf(sid), deadline);
  }

  /**
   * Subscribes to a session that is not read on the subscriber's connection.
   * @returns whether every change of it is noticed from now on; false if that is not known in time, or if Redis tracks what is
   * read on the subscriber's connection: then it reports the changes of nothing else
   */
  subscribe(sid: string): boolean | Promise<boolean> {
    const sessions = this.#subscriptionsOf(sid);
    if (sessions === undefined || sessions.isTracked) return false;
    return sessions.subscribe(this.channelOf(sid), sid);
  }

  /** Subscribes to a session and reads it, in one round trip. @returns undefined if that is not possible now */
  read<T>(sid: string, read: SubscribedRead<T>): Promise<{ readonly value: T } | undefined> | undefined {
    return this.#subscriptionsOf(sid)?.read(this.channelOf(sid), sid, read);
  }

  /** Unsubscribes from some of the sessions that are not in use; from all within MAX_SWEEPS calls. */
  sweep(): void {
    for (const { sessions } of this.listeners)
      sessions?.sweep(Math.max(MIN_SWEPT, sessions.size / MAX_SWEEPS));
  }

  #subscriptionsOf(sid: string): SessionSubscriptions | undefined {
    const id = this.#options.topology.primaryIdOf(sid);
    for (const { primary, sessions } of this.listeners) if (primary.id === id) return sessions;
    return undefined;
  }
}

const MAX_SWEEPS = 8;
const MIN_SWEPT = 1_000;
