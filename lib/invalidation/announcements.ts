import crypto from "node:crypto";
import type { Deadline } from "../redis/deadlines.ts";
import {
  type ClusterMessage,
  type DestroyReason,
  encodeInvalidation,
  encodeMessage,
  forward,
  invalidationStart,
  type MessageContent,
  type OpenText,
  splitAtSids,
} from "./messages.ts";
import type { ClusterCoordinatorOptions, OpenOutgoingMessage, OutgoingMessage } from "./types.ts";

/** Past that the oldest is dropped. A copy of it then counts as new: one event and one read too many. */
const MAX_REMEMBERED = 1_000;

/**
 * Builds this store's messages, and recognizes them when they arrive, as well as the copies of a message that several
 * primaries deliver.
 *
 * Whoever may publish can use any instance id and sequence number. So a message that is in flight is recognized by its whole
 * text, and so is a copy: a forged message with the same numbers can neither pass for the real one nor hide it.
 */
export class Announcements {
  /** What the names of all channels begin with. */
  readonly baseChannel: string;
  /** Called with an own message from the shared channel that has arrived before its write failed. For the coordinator to set. */
  onNews: ((text: string) => void) | undefined;
  readonly #options: ClusterCoordinatorOptions;
  readonly #instanceId: string;
  /** What all own messages on the channels of sessions begin with. */
  readonly #ownStart: string;
  #lastSequence = 0;
  /** By sequence number. No Map, for the reason that `Deadline.end` states. */
  readonly #pending: Record<number, PendingMessage> = Object.create(null);
  /** Own writes with an unknown outcome: if Redis executes one later, its message is news to this store, too. */
  readonly #failed = new Set<number>();
  readonly #seen = new Set<string>();

  /** @param instanceId the random id of this store; labels are not unique */
  constructor(options: ClusterCoordinatorOptions, instanceId: string) {
    this.#options = options;
    this.#instanceId = instanceId;
    this.baseChannel = options.channel;
    this.#ownStart = invalidationStart(instanceId);
  }

  /** The message for a write of one session that is about to be sent. @param deadline the write's */
  ofWrite(sessionChannel: string, deadline: Deadline): OutgoingMessage {
    const { nodeId, channel } = this.#options;
    const sequence = ++this.#lastSequence;
    const text = encodeInvalidation({ instanceId: this.#instanceId, sequence, nodeId });
    // Only the name of a channel in one shard of a Cluster has a tag.
    const isInShard = sessionChannel[channel.length + 1] === "{";
    const whileMoving = isInShard
      ? { channel, message: forward(sessionChannel.slice(channel.length + 1), text) }
      : undefined;
    return this.#begin({ channel: sessionChannel, sequence, text, deadline, whileMoving });
  }

  /** The message for a deletion that is about to be sent. @param deadline the deletion's */
  of(content: MessageContent, deadline: Deadline): OutgoingMessage {
    const sequence = ++this.#lastSequence;
    const text = this.#encode(content, sequence);
    return this.#begin({ channel: this.#options.channel, sequence, text, deadline });
  }

  /** The message for a deletion that determines which sessions it names. */
  ofUnchanged(reason: DestroyReason, deadline: Deadline): OpenOutgoingMessage {
    const sequence = ++this.#lastSequence;
    const text = splitAtSids(this.#encode({ type: "SessionDeleted", sids: [], reason }, sequence));
    return this.#begin({ channel: this.#options.channel, sequence, text, deadline });
  }

  #encode(content: MessageContent, sequence: number): string {
    const { nodeId, topology } = this.#options;
    const sender = { instanceId: this.#instanceId, sequence, nodeId };
    return encodeMessage({ ...content, ...sender, prefix: topology.fullPrefix, sentAt: Date.now() });
  }

  #begin(details: MessageDetails): PendingMessage {
    const message = new PendingMessage(this, details);
    this.#pending[details.sequence] = message;
    return message;
  }

  /** A write has ended. @param isPublished whether Redis has confirmed that it published the message */
  settle(sequence: number, isPublished: boolean): void {
    const arrived = this.#pending[sequence]?.arrived;
    delete this.#pending[sequence];
    if (isPublished) {
      this.#options.counters.messagesPublished++;
      return;
    }
    remember(this.#failed, sequence);
    if (arrived !== undefined) this.onNews?.(arrived);
  }

  /** The number in a text from the channel of a session, if that is an own message. Does not decode what needs no decoding. */
  ownSequence(text: string): number | undefined {
    if (!text.startsWith(this.#ownStart)) return undefined;
    const start = this.#ownStart.length;
    const sequence = Number(text.slice(start, text.indexOf(" ", start)));
    return this.#isOwn(sequence, text) ? sequence : undefined;
  }

  /** Whether a message is of a write of this store that is pending or has succeeded. @param text as it arrived */
  isOwn({ instanceId, sequence }: ClusterMessage, text: string): boolean {
    if (instanceId !== this.#instanceId || !this.#isOwn(sequence, text)) return false;
    const pending = this.#pending[sequence];
    if (pending !== undefined) pending.arrived = text;
    return true;
  }

  #isOwn(sequence: number, text: string): boolean {
    const pending = this.#pending[sequence];
    if (pending === undefined)
      return sequence > 0 && sequence <= this.#lastSequence && !this.#failed.has(sequence);
    if (!pending.isText(text)) return false;
    pending.isNews = pending.deadline.passed;
    return !pending.isNews;
  }

  /** Whether a message that is not own has arrived before: where several primaries deliver each. @param text as it arrived */
  isCopy(text: string): boolean {
    const id = sha256(text);
    if (this.#seen.has(id)) return true;
    remember(this.#seen, id);
    return false;
  }
}

interface MessageDetails {
  readonly channel: string;
  readonly sequence: number;
  readonly text: string | OpenText;
  /** That of the write that publishes it. */
  readonly deadline: Deadline;
  readonly whileMoving?: OutgoingMessage["whileMoving"];
}

/** A message of a write that has not ended. */
class PendingMessage implements OutgoingMessage, OpenOutgoingMessage {
  /** Whether it has arrived after the deadline, so that it does not count as own. */
  isNews = false;
  /** What has arrived on the shared channel, and counts as own unless the write fails. */
  arrived: string | undefined;
  readonly message: string;
  readonly head: string;
  readonly tail: string;
  readonly channel: string;
  readonly baseChannel: string;
  readonly sequence: number;
  readonly deadline: Deadline;
  readonly whileMoving: OutgoingMessage["whileMoving"];
  readonly #owner: Announcements;

  constructor(owner: Announcements, details: MessageDetails) {
    const { channel, sequence, text, deadline, whileMoving } = details;
    this.#owner = owner;
    this.channel = channel;
    this.baseChannel = owner.baseChannel;
    this.sequence = sequence;
    this.head = typeof text === "string" ? text : text.head;
    this.tail = typeof text === "string" ? "" : text.tail;
    this.message = this.head + this.tail;
    this.deadline = deadline;
    this.whileMoving = whileMoving;
  }

  /** Whether that is its text. */
  isText(text: string): boolean {
    if (this.tail === "") return text === this.message;
    return text.startsWith(this.head) && text.endsWith(this.tail);
  }

  isReported(): boolean {
    return this.isNews;
  }

  settle(isPublished: boolean): void {
    this.#owner.settle(this.sequence, isPublished);
  }
}

function remember<T>(set: Set<T>, value: T): void {
  if (set.size >= MAX_REMEMBERED) set.delete(set.values().next().value as T);
  set.add(value);
}

/** `crypto.hash` makes no object to be collected. Node 20.0 to 20.11 do not have it. */
export const sha256: (text: string) => string =
  typeof crypto.hash === "function"
    ? (text) => crypto.hash("sha256", text, "base64url")
    : (text) => crypto.createHash("sha256").update(text).digest("base64url");
