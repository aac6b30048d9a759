import { createHash } from "node:crypto";
import type { Deadline } from "../redis/deadlines.ts";
import { type ClusterMessage, invalidationStart, type OpenText } from "./messages.ts";

/** Past that the oldest is dropped. A copy of it then counts as new: one event and one read too many. */
const MAX_REMEMBERED = 1_000;

/**
 * Whose message it is: `own` for a write of this store that is pending or has succeeded, `copy` for one that another
 * primary of a Cluster has delivered before, `new` for everything else.
 */
export type MessageOrigin = "own" | "copy" | "new";

/** A message of this store that is about to be published. */
export interface OwnMessage {
  readonly text: string | OpenText;
  /** That of the write that publishes it. */
  readonly deadline: Deadline;
  /** Whether it has arrived as `new`, since the deadline had passed. */
  isNews: boolean;
}

/**
 * Recognizes this store's own messages, and the copies of a message that several primaries deliver.
 *
 * Whoever may publish can use any instance id and sequence number. So a message that is in flight is recognized by its whole
 * text, and so is a copy: a forged message with the same numbers can neither pass for the real one nor hide it.
 */
export class MessageFilter {
  readonly #instanceId: string;
  /** What all own messages on the channels of sessions begin with. */
  readonly #ownStart: string;
  #lastSequence = 0;
  /** By sequence number. No Map, for the reason that `Deadline.end` states. */
  readonly #pending: Record<number, OwnMessage> = Object.create(null);
  /** Own writes with an unknown outcome: if Redis carries one out later, its message is news to this store, too. */
  readonly #failed = new Set<number>();
  readonly #seen = new Set<string>();

  /** @param instanceId the random id of this store; labels are not unique */
  constructor(instanceId: string) {
    this.#instanceId = instanceId;
    this.#ownStart = invalidationStart(instanceId);
  }

  /** The sequence number of the next message. */
  nextSequence(): number {
    return ++this.#lastSequence;
  }

  /** A write begins, and is about to publish its message. */
  begin(sequence: number, message: OwnMessage): void {
    this.#pending[sequence] = message;
  }

  /** The write has ended. @param isPublished whether Redis has confirmed that it published the message */
  end(sequence: number, isPublished: boolean): void {
    delete this.#pending[sequence];
    if (!isPublished) remember(this.#failed, sequence);
  }

  /** The number in a text from the channel of a session, if that is an own message. Does not decode what needs no decoding. */
  ownSequence(text: string): number | undefined {
    if (!text.startsWith(this.#ownStart)) return undefined;
    const start = this.#ownStart.length;
    const sequence = Number(text.slice(start, text.indexOf(" ", start)));
    return this.#isOwn(sequence, text) ? sequence : undefined;
  }

  /**
   * @param text the message as it arrived
   * @param hasCopies whether more than one primary delivers messages
   */
  originOf({ instanceId, sequence }: ClusterMessage, text: string, hasCopies: boolean): MessageOrigin {
    if (instanceId === this.#instanceId) {
      if (this.#isOwn(sequence, text)) return "own";
      const pending = this.#pending[sequence];
      if (pending !== undefined && isText(pending.text, text)) pending.isNews = true;
    }
    if (!hasCopies) return "new";
    const id = createHash("sha256").update(text).digest("base64");
    if (this.#seen.has(id)) return "copy";
    remember(this.#seen, id);
    return "new";
  }

  #isOwn(sequence: number, text: string): boolean {
    const pending = this.#pending[sequence];
    if (pending !== undefined) return isText(pending.text, text) && !pending.deadline.passed;
    return sequence > 0 && sequence <= this.#lastSequence && !this.#failed.has(sequence);
  }
}

function isText(expected: string | OpenText, text: string): boolean {
  if (typeof expected === "string") return text === expected;
  return text.startsWith(expected.head) && text.endsWith(expected.tail);
}

function remember<T>(set: Set<T>, value: T): void {
  if (set.size >= MAX_REMEMBERED) set.delete(set.values().next().value as T);
  set.add(value);
}
