import { createHash } from "node:crypto";
import type { Deadline } from "../redis/deadlines.ts";
import type { ClusterMessage, OpenText } from "./messages.ts";

/** Past that the oldest is dropped. A copy of it then counts as new: one event and one read too many. */
const MAX_REMEMBERED = 1_000;

/**
 * Whose message it is: `own` for a write of this store that is pending or has succeeded, `copy` for one that another
 * primary of a Cluster has delivered before, `new` for everything else.
 */
export type MessageOrigin = "own" | "copy" | "new";

interface OwnMessage {
  readonly text: string | OpenText;
  readonly deadline: Deadline;
  /** Whether it has arrived as news, since the deadline had passed. */
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
  #lastSequence = 0;
  readonly #pending = new Map<number, OwnMessage>();
  /** Own writes with an unknown outcome: if Redis carries one out later, its message is news to this store, too. */
  readonly #failed = new Set<number>();
  readonly #seen = new Set<string>();

  /** @param instanceId the random id of this store; labels are not unique */
  constructor(instanceId: string) {
    this.#instanceId = instanceId;
  }

  /** The sequence number of the next message. */
  nextSequence(): number {
    return ++this.#lastSequence;
  }

  /** A write begins, and is about to publish its message. @param deadline the write's */
  begin(sequence: number, text: string | OpenText, deadline: Deadline): void {
    this.#pending.set(sequence, { text, deadline, isNews: false });
  }

  /** Whether the message of a pending write has arrived, and was `new`: the caller had received its timeout. */
  isNews(sequence: number): boolean {
    return this.#pending.get(sequence)?.isNews ?? false;
  }

  /** The write has ended. @param isPublished whether Redis has confirmed that it published the message */
  end(sequence: number, isPublished: boolean): void {
    this.#pending.delete(sequence);
    if (!isPublished) remember(this.#failed, sequence);
  }

  /**
   * @param text the message as it arrived
   * @param hasCopies whether more than one primary delivers messages
   */
  originOf({ instanceId, sequence }: ClusterMessage, text: string, hasCopies: boolean): MessageOrigin {
    if (instanceId === this.#instanceId && this.#isOwn(sequence, text)) return "own";
    if (!hasCopies) return "new";
    const id = createHash("sha256").update(text).digest("base64");
    if (this.#seen.has(id)) return "copy";
    remember(this.#seen, id);
    return "new";
  }

  #isOwn(sequence: number, text: string): boolean {
    const pending = this.#pending.get(sequence);
    if (pending !== undefined) {
      if (!isText(pending.text, text)) return false;
      pending.isNews ||= pending.deadline.passed;
      return !pending.deadline.passed;
    }
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
