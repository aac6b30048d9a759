import type { Deadline } from "../redis/deadlines.ts";
import type { MessageFilter } from "./message-filter.ts";
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
    const message = encodeInvalidation({ instanceId, sequence, nodeId });
    const name = sessions.nameOf(sid);
    const envelope = this.#envelope(name, message, sequence, deadline);
    if (topology.channelTagOf(sid) === undefined) return { message, ...envelope };
    const suffix = name.slice(channel.length + 1);
    return { message, ...envelope, whileMoving: { channel, message: forward(suffix, message) } };
  }

  /** The message for a deletion that is about to be sent. @param deadline the deletion's */
  of(content: MessageContent, deadline: Deadline): OutgoingMessage {
    const { channel, filter } = this.#options;
    const sequence = filter.nextSequence();
    const message = this.#encode(content, sequence);
    return { message, ...this.#envelope(channel, message, sequence, deadline) };
  }

  /** The message for a deletion that determines which sessions it names. */
  ofUnchanged(reason: DestroyReason, deadline: Deadline): OpenOutgoingMessage {
    const { channel, filter } = this.#options;
    const sequence = filter.nextSequence();
    const text = splitAtSids(this.#encode({ type: "SessionDeleted", sids: [], reason }, sequence));
    return { ...text, ...this.#envelope(channel, text, sequence, deadline) };
  }

  #encode(content: MessageContent, sequence: number): string {
    const { instanceId, nodeId, topology } = this.#options;
    const base = { instanceId, sequence, nodeId, prefix: topology.fullPrefix, sentAt: Date.now() };
    return encodeMessage({ ...content, ...base });
  }

  #envelope(channel: string, text: string | OpenText, sequence: number, deadline: Deadline) {
    const { channel: baseChannel, filter, counters } = this.#options;
    filter.begin(sequence, text, deadline);
    const settle = (isPublished: boolean) => {
      if (isPublished) counters.messagesPublished++;
      filter.end(sequence, isPublished);
    };
    const isReported = () => filter.isNews(sequence);
    return { channel, baseChannel, sequence, isReported, settle };
  }
}
