interface Heartbeat {
  readonly sentAt: number;
  acknowledgedAt: number | undefined;
}

/**
 * The arithmetic of heartbeats: since when this process has provably heard everything, and whether its
 * subscription is mute. All times are
 * those of a monotonic clock, in milliseconds, and handed in.
 *
 * Source: C. Gray, D. Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency",
 * SOSP 1989. Here the holder gives the lease to itself, for as long as it can prove that it would have heard.
 */
export class Lease {
  readonly #leaseMs: number;
  /** Heartbeats that have not come back, by number. */
  readonly #outstanding = new Map<number, Heartbeat>();
  #lastNumber = 0;
  /** Heartbeats up to this one prove nothing any more. */
  #floor = 0;
  #provenAt: number | undefined;

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** When the newest heartbeat that came back was sent; undefined when nothing is proven. */
  get provenAt(): number | undefined {
    return this.#provenAt;
  }

  /** Redis has acknowledged a heartbeat a whole lease ago that has not come back: nothing comes back here. */
  isMute(now: number): boolean {
    for (const { acknowledgedAt } of this.#outstanding.values()) {
      if (acknowledgedAt !== undefined && now - acknowledgedAt >= this.#leaseMs) return true;
    }
    return false;
  }

  /** Whether a heartbeat is on its way to Redis: another behind it would say no more. */
  get isSending(): boolean {
    for (const { acknowledgedAt } of this.#outstanding.values())
      if (acknowledgedAt === undefined) return true;
    return false;
  }

  /** A heartbeat goes out. @returns its number */
  sent(now: number): number {
    this.#outstanding.set(++this.#lastNumber, { sentAt: now, acknowledgedAt: undefined });
    return this.#lastNumber;
  }

  /** Redis has taken a heartbeat. */
  acknowledged(number: number, now: number): void {
    const heartbeat = this.#outstanding.get(number);
    if (heartbeat !== undefined) heartbeat.acknowledgedAt = now;
  }

  /** Redis has not taken a heartbeat, as far as is known. */
  failed(number: number): void {
    this.#outstanding.delete(number);
  }

  /** A heartbeat came back, and with it proof of all that was published before. */
  cameBack(number: number): void {
    const heartbeat = this.#outstanding.get(number);
    if (heartbeat === undefined) return;
    for (const earlier of this.#outstanding.keys()) if (earlier <= number) this.#outstanding.delete(earlier);
    if (number > this.#floor) this.#provenAt = Math.max(this.#provenAt ?? 0, heartbeat.sentAt);
  }

  /** Nothing is proven any more: only heartbeats sent from now on count. */
  void(): void {
    this.#floor = this.#lastNumber;
    this.#provenAt = undefined;
  }

  /** A new subscription: what went out before will not come back to it. */
  restart(): void {
    this.void();
    this.#outstanding.clear();
  }
}
