import type { SessionConnection } from "../redis/topology.ts";

/** The subscriptions of a connection, as this process knows them. */
export interface KnownSubscriptions {
  /** How many there are, including those that Redis has not acknowledged yet. */
  readonly size: number;
  /** Grows with each that Redis has ended or refused by itself. */
  readonly disturbances: number;
}

/**
 * Compares the subscriptions of a connection with what Redis counts. Redis has fewer if it has ended one, since its slot has
 * moved, and the notice of that is lost; even if the slot has returned since, which nothing else shows.
 *
 * Redis executes the commands of a connection in order, so it counts exactly those that were requested before.
 */
export class SubscriptionCount {
  /** Undefined if Redis does not count: before 7.0.3, or without the permission. */
  #count: SessionConnection["count"];
  readonly #known: KnownSubscriptions;
  /** The disturbances when some were missing, as far as the last count showed. */
  #missingAt: number | undefined;

  constructor(count: NonNullable<SessionConnection["count"]>, known: KnownSubscriptions) {
    this.#count = count;
    this.#known = known;
  }

  /**
   * Whether some have been missing since the last call, and no notice and no move that is known explains it. Rejects if
   * the connection fails.
   */
  async isShort(): Promise<boolean> {
    if (this.#count === undefined) return false;
    const { size, disturbances } = this.#known;
    const counted = await this.#count();
    if (counted === undefined) this.#count = undefined;
    // Until all has been handled that was received together with the count.
    await new Promise(setImmediate);
    const wasMissing = this.#missingAt === disturbances;
    const isMissing = (counted ?? size) < size && disturbances === this.#known.disturbances;
    this.#missingAt = isMissing ? disturbances : undefined;
    return isMissing && wasMissing;
  }
}
