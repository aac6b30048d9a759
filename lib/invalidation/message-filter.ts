import type { Deadline } from "../redis/deadlines.ts";
import type { ClusterMessage } from "./messages.ts";

/** Past that the oldest is dropped. A copy of it then counts as new: one event and one read too many. */
const MAX_REMEMBERED = 1_000;

/**
 * Whose message it is: `own` for a write of this store that is under way or has succeeded, `copy` for one that another
 * primary of a Cluster has delivered before, `new` for everything else.
 */
export type MessageOrigin = "own" | "copy" | "new";

/** Recognizes this store's own messages, and the copies of a message that several primaries deliver. */
export class MessageFilter {
  readonly #instanceId: string;
  #lastSequence = 0;
  readonly #pending = new Map<number, Deadline>();
  /** Own writes with an unknown outcome: if Redis carries one out later, its message is news to this store, too. */
  readonly #failed = new Set<number>();
  readonly #seen = new Set<string>();

  /** @param instanceId the random id of this store; labels are not unique */
  constructor(instanceId: string) {
    this.#instanceId = instanceId;
  }

  /** A write begins. @returns its message's sequence number */
  begin(deadline: Deadline): number {
    this.#pending.set(++this.#lastSequence, deadline);
    return this.#lastSequence;
  }

  /** The write has ended. @param isPublished whether Redis has confirmed that it published the message */
  end(sequence: number, isPublished: boolean): void {
    this.#pending.delete(sequence);
    if (!isPublished) remember(this.#failed, sequence);
  }

  /** @param hasCopies whether more than one primary delivers messages */
  originOf({ instanceId, sequence }: ClusterMessage, hasCopies: boolean): MessageOrigin {
    const isOwn = instanceId === this.#instanceId;
    const hasFailed = this.#failed.has(sequence) || this.#pending.get(sequence)?.passed === true;
    if (isOwn && !hasFailed) return "own";
    if (!hasCopies) return "new";
    const id = `${instanceId} ${sequence}`;
    if (this.#seen.has(id)) return "copy";
    remember(this.#seen, id);
    return "new";
  }
}

function remember<T>(set: Set<T>, value: T): void {
  if (set.size >= MAX_REMEMBERED) set.delete(set.values().next().value as T);
  set.add(value);
}
