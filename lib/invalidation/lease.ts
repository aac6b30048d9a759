interface Heartbeat {
  readonly sentAt: number;
  acknowledgedAt: number | undefined;
}

/**
 * The arithmetic of heartbeats: up to when this process has provably received every message, and whether its subscription
 * is silent. All times are passed in, in milliseconds of a monotonic clock.
 *
 * Source: C. Gray, D. Cheriton, "Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency",
 * SOSP 1989. Here the holder grants the lease to itself, for as long as it can prove that it receives messages.
 */
export class Lease {
  /** When the newest returned heartbeat was sent; undefined if there is no proof. Set here alone. */
  provenAt: number | undefined;
  readonly #leaseMs: number;
  /** Heartbeats that have not returned, by number. */
  readonly #outstanding = new Map<number, Heartbeat>();
  #lastNumber = 0;
  /** Heartbeats up to this one prove nothing. */
  #floor = 0;

  constructor(leaseMs: number) {
    this.#leaseMs = leaseMs;
  }

  /** Redis has acknowledged a heartbeat a whole lease ago that has not returned. */
  isSilent(now: number): boolean {
    for (const { acknowledgedAt } of this.#outstanding.values()) {
      if (acknowledgedAt !== undefined && now - acknowledgedAt >= this.#leaseMs) return true;
    }
    return false;
  }

  /** Whether a heartbeat is on its way to Redis: another behind it would prove no more. */
  get isSending(): boolean {
    for (const { acknowledgedAt } of this.#outstanding.values()) {
      if (acknowledgedAt === undefined) return true;
    }
    return false;
  }

  /** A heartbeat is sent. @returns its number */
  send(now: number): number {
    this.#outstanding.set(++this.#lastNumber, { sentAt: now, acknowledgedAt: undefined });
    return this.#lastNumber;
  }

  /** Redis has replied to a heartbeat. */
  acknowledge(number: number, now: number): void {
    const heartbeat = this.#outstanding.get(number);
    if (heartbeat !== undefined) heartbeat.acknowledgedAt = now;
  }

  /** A heartbeat failed, or its reply shows that it proves nothing. */
  drop(number: number): void {
    this.#outstanding.delete(number);
  }

  /** A heartbeat has returned: every message published before it has been received. */
  prove(number: number): void {
    const heartbeat = this.#outstanding.get(number);
    if (heartbeat === undefined) return;
    for (const earlier of this.#outstanding.keys()) if (earlier <= number) this.#outstanding.delete(earlier);
    if (number > this.#floor) this.provenAt = Math.max(this.provenAt ?? 0, heartbeat.sentAt);
  }

  /** Only heartbeats sent from now on prove anything. */
  reset(): void {
    this.#floor = this.#lastNumber;
    this.provenAt = undefined;
  }

  /** There is a new subscription: earlier heartbeats will not return on it. */
  restart(): void {
    this.reset();
    this.#outstanding.clear();
  }
}
