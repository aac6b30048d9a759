import type { Counters } from "../reporting/counters.ts";
import type { Announcements } from "./announcements.ts";
import {
  decodeInvalidation,
  decodeMessage,
  type ForwardedText,
  type SessionInvalidated,
  type SharedMessage,
  splitForwarded,
} from "./messages.ts";
import type { CoordinatorHandlers, InvalidatedCache } from "./types.ts";

export interface MessageReceiverOptions extends CoordinatorHandlers {
  /** What precedes the session ids in Redis. */
  readonly prefix: string;
  /** Recognizes the messages of this store. */
  readonly announcements: Announcements;
  readonly counters: Counters;
  /** The id of the session with the channel whose name ends so, if this process is subscribed to it. */
  readonly sidOf: (channelSuffix: string) => string | undefined;
  /** Whether more than one primary delivers messages now. */
  readonly hasCopies: () => boolean;
}

/** Applies received messages: first to the cache, then as events. `invalidate` is emitted for sessions that concern this process. */
export class MessageReceiver {
  readonly cache: InvalidatedCache;
  readonly #options: MessageReceiverOptions;
  /** Cached sessions that Redis reported as changed, and the primary that did; a message may still name the writer. */
  readonly #changed = new Map<string, string>();

  constructor(options: MessageReceiverOptions) {
    this.#options = options;
    this.cache = options.cache;
  }

  /** A message from the channel of a session. */
  onSessionMessage(text: string, sid: string): void {
    const message = this.#apply(text, sid);
    if (message !== undefined) this.#report(sid, message);
  }

  /** Applies a message about a session to the cache. @returns it, if it is valid and another store's */
  #apply(text: string, sid: string): SessionInvalidated | undefined {
    const { announcements, counters, cache } = this.#options;
    counters.messagesReceived++;
    if (this.#changed.size > 0) this.#changed.delete(sid);
    const own = announcements.ownSequence(text);
    if (own !== undefined) {
      cache.onOwnMessage(sid, own);
      return undefined;
    }
    const message = decodeInvalidation(text);
    if (message === undefined) counters.messagesIgnored++;
    else cache.invalidate(sid);
    return message;
  }

  #report(sid: string, { nodeId }: SessionInvalidated): void {
    this.#options.counters.invalidations++;
    this.#options.emit("invalidate", sid, nodeId);
  }

  /** A message from the channel of a session that was published on the shared channel. */
  #onForwarded({ channelSuffix, text }: ForwardedText): void {
    const { announcements, counters, sidOf, hasCopies } = this.#options;
    const sid = sidOf(channelSuffix);
    if (sid === undefined) {
      counters.messagesReceived++;
      return;
    }
    const message = this.#apply(text, sid);
    if (message !== undefined && !(hasCopies() && announcements.isCopy(text))) this.#report(sid, message);
  }

  /** A message from the shared channel. */
  onMessage(text: string): void {
    const forwarded = splitForwarded(text);
    if (forwarded !== undefined) {
      this.#onForwarded(forwarded);
      return;
    }
    this.#options.counters.messagesReceived++;
    this.onShared(text);
  }

  /** Applies a message from the shared channel; again if it was taken for own, and its write has failed since. */
  onShared(text: string): void {
    const { prefix, announcements, counters, cache, emit, hasCopies } = this.#options;
    const message = decodeMessage(text);
    const sids = message && sidsUnder(prefix, message);
    if (message === undefined || sids === undefined) {
      counters.messagesIgnored++;
      return;
    }
    if (announcements.isOwn(message, text)) {
      if (message.type === "CacheClear") return;
      for (const sid of sids) cache.onOwnMessage(sid, message.sequence);
      return;
    }
    const isCopy = hasCopies() && announcements.isCopy(text);
    if (!isCopy) counters.invalidations++;
    if (message.type === "CacheClear") {
      this.flush("clear");
      return;
    }
    const inUse = sids.filter((sid) => this.#changed.delete(sid) || cache.isInUse(sid));
    // Of a copy, too: only the primary that executed the write delivers its messages in the order of its replies.
    for (const sid of sids) cache.invalidate(sid);
    // Of a clear, `flush` reports.
    if (isCopy || message.reason === "clear") return;
    for (const sid of inUse) emit("invalidate", sid, message.nodeId);
    for (const sid of sids) emit("destroyed", sid, message.nodeId, message.reason);
  }

  /** Redis reports that a key has changed, or with null that all are gone. @param primary which Redis */
  onChange(key: string | null, primary: string): void {
    const { prefix, cache } = this.#options;
    const sid = key?.slice(prefix.length) ?? "";
    if (key === null) this.flush("Redis was flushed");
    else if (key.startsWith(prefix) && cache.invalidate(sid)) this.#changed.set(sid, primary);
  }

  /** Everything published with the changes that a primary has reported so far has been received. */
  settleChanges(primary: string): void {
    for (const [sid, reporter] of this.#changed) {
      if (reporter !== primary) continue;
      this.#changed.delete(sid);
      this.#options.counters.invalidations++;
      this.#options.emit("invalidate", sid, "");
    }
  }

  /** Drops the whole cache: all sessions are gone, or nothing is received any more. */
  flush(reason: string): void {
    const { cache, counters, emit } = this.#options;
    cache.invalidateAll();
    counters.flushes++;
    emit("flush", reason);
  }

  /** The cache is dropped, so that no change is of interest any more. */
  dropChanges(): void {
    this.#changed.clear();
  }

  /** Redis has removed an expired key. */
  onExpired(key: string): void {
    const { prefix, cache, emit } = this.#options;
    if (!key.startsWith(prefix)) return;
    const sid = key.slice(prefix.length);
    cache.invalidate(sid);
    emit("expired", sid);
  }
}

/**
 * The sessions of a message, by their ids under `prefix`; none for `CacheClear`. A store whose prefix begins with another's
 * shares its sessions with that one, under shorter ids.
 * @returns undefined if the message concerns none of them
 */
function sidsUnder(prefix: string, message: SharedMessage): readonly string[] | undefined {
  if (!prefix.startsWith(message.prefix)) return undefined;
  if (message.type === "CacheClear") return [];
  const rest = prefix.slice(message.prefix.length);
  if (rest === "") return message.sids;
  const sids = message.sids.flatMap((sid) => (sid.startsWith(rest) ? [sid.slice(rest.length)] : []));
  return sids.length === 0 ? undefined : sids;
}
