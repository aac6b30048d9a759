import type { Deadline } from "../redis/deadlines.ts";
import type { MessageFilter, OwnMessage } from "./message-filter.ts";
import {
  type DestroyReason,
  encodeInvalidation,
  encodeMessage,
  forward,
  type MessageContent,
  type OpenText,
  splitAtSids,
} from "./messages.ts";
import type { SessionChannels } from "./session-channels.ts";
import type { ClusterCoordinatorOptions, OpenOutgoingMessage, OutgoingMessage } from "./types.ts";

export interface AnnouncementsOptions extends ClusterCoordinatorOptions {
  readonly instanceId: string;
  readonly sessions: SessionChannels;
  /** Recognizes the messages when they arrive. */
  readonly filter: MessageFilter;
}

/** Builds the messages of this store. */
export class Announcements {
  readonly #options: AnnouncementsOptions;

  constructor(options: AnnouncementsOptions) {
    this.#options = options;
  }

  /** The message for a write of one session that is about to be sent. @param deadline the write's */
  ofWrite(sid: string, deadline: Deadline): OutgoingMessage {
    const { instanceId, nodeId, sessions, filter, topology, channel } = this.#options;
    const sequence = filter.nextSequence();
    const text = encodeInvalidation({ instanceId, sequence, nodeId });
    const name = sessions.nameOf(sid);
    if (topology.channelTagOf(sid) === undefined)
      return new PendingMessage(this.#options, name, sequence, text, deadline);
    const whileMoving = { channel, message: forward(name.slice(channel.length + 1), text) };
    return new PendingMessage(this.#options, name, sequence, text, deadline, whileMoving);
  }

  /** The message for a deletion that is about to be sent. @param deadline the deletion's */
  of(content: MessageContent, deadline: Deadline): OutgoingMessage {
    const { channel, filter } = this.#options;
    const sequence = filter.nextSequence();
    return new PendingMessage(this.#options, channel, sequence, this.#encode(content, sequence), deadline);
  }

  /** The message for a deletion that determines which sessions it names. */
  ofUnchanged(reason: DestroyReason, deadline: Deadline): OpenOutgoingMessage {
    const { channel, filter } = this.#options;
    const sequence = filter.nextSequence();
    const text = splitAtSids(this.#encode({ type: "SessionDeleted", sids: [], reason }, sequence));
    return new PendingMessage(this.#options, channel, sequence, text, deadline);
  }

  #encode(content: MessageContent, sequence: number): string {
    const { instanceId, nodeId, topology } = this.#options;
    const base = { instanceId, sequence, nodeId, prefix: topology.fullPrefix, sentAt: Date.now() };
    return encodeMessage({ ...content, ...base });
  }
}

/** A message of a write that has not ended. */
class PendingMessage implements OutgoingMessage, OpenOutgoingMessage, OwnMessage {
  isNews = false;
  readonly channel: string;
  readonly baseChannel: string;
  readonly sequence: number;
  readonly text: string | OpenText;
  readonly deadline: Deadline;
  readonly whileMoving: OutgoingMessage["whileMoving"];
  readonly #options: AnnouncementsOptions;

  constructor(
    options: AnnouncementsOptions,
    channel: string,
    sequence: number,
    text: string | OpenText,
    deadline: Deadline,
    whileMoving?: OutgoingMessage["whileMoving"],
  ) {
    this.#options = options;
    this.channel = channel;
    this.baseChannel = options.channel;
    this.sequence = sequence;
    this.text = text;
    this.deadline = deadline;
    this.whileMoving = whileMoving;
    options.filter.begin(sequence, this);
  }

  get message(): string {
    return this.head + this.tail;
  }

  get head(): string {
    return typeof this.text === "string" ? this.text : this.text.head;
  }

  get tail(): string {
    return typeof this.text === "string" ? "" : this.text.tail;
  }

  isReported(): boolean {
    return this.isNews;
  }

  settle(isPublished: boolean): void {
    const { counters, filter } = this.#options;
    if (isPublished) counters.messagesPublished++;
    filter.end(this.sequence, isPublished);
  }
}
