import type { ClusterMessage } from "./messages.ts";

/** Past that the oldest is forgotten, and a copy of it would be told again, which harms nobody. */
const MOST_REMEMBERED = 1_000;

/** Remembers the latest messages, to know the copies of one. */
export class HeardMessages {
  readonly #ids = new Set<string>();

  /** Whether the message has been asked about before. */
  has({ instanceId, sequence }: ClusterMessage): boolean {
    const id = `${instanceId} ${sequence}`;
    if (this.#ids.has(id)) return true;
    if (this.#ids.size >= MOST_REMEMBERED) this.#ids.delete(this.#ids.values().next().value as string);
    this.#ids.add(id);
    return false;
  }
}
