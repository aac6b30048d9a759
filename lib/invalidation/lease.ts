interface Heartbeat {
  /** Undefined if what it proves does not count any more. */
  sentAt: number | undefined;
  /** When Redis replied that it has delivered it. */
  acknowledgedAt: number | undefined;
  hasReturned: boolean;
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
  /** Those that have proven nothing yet, by payload, in the order in which they were sent. */
  readonly #outstanding = new Map<string, Heartbeat>();

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

  /** A heartbeat is sent. @param payload no other has the same */
  send(payload: string, now: number): void {
    this.#outstanding.set(payload, { sentAt: now, acknowledgedAt: undefined, hasReturned: false });
  }

  /** A heartbeat failed, or its reply shows that it proves nothing. */
  drop(payload: string): void {
    this.#outstanding.delete(payload);
  }

  /** Redis has replied to a heartbeat. @returns whether it renews the lease now */
  acknowledge(payload: string, now: number): boolean {
    const heartbeat = this.#outstanding.get(payload);
    if (heartbeat === undefined) return false;
    heartbeat.acknowledgedAt = now;
    return this.#prove(payload, heartbeat);
  }

  /** Whether this is a heartbeat that has not returned: none of another primary, which a Cluster forwards, no late and no forged one. */
  awaits(payload: string): boolean {
    return this.#outstanding.get(payload)?.hasReturned === false;
  }

  /** A heartbeat has returned: every message published before it has been received. @returns whether it renews the lease now */
  onEcho(payload: string): boolean {
    const heartbeat = this.#outstanding.get(payload);
    if (heartbeat === undefined) return false;
    heartbeat.hasReturned = true;
    return this.#prove(payload, heartbeat);
  }

  #prove(payload: string, { sentAt, acknowledgedAt, hasReturned }: Heartbeat): boolean {
    if (acknowledgedAt === undefined || !hasReturned) return false;
    // Earlier ones prove no more.
    for (const earlier of this.#outstanding.keys()) {
      this.#outstanding.delete(earlier);
      if (earlier === payload) break;
    }
    if (sentAt === undefined) return false;
    this.provenAt = sentAt;
    return true;
  }

  /** Only heartbeats sent from now on prove anything. */
  reset(): void {
    this.provenAt = undefined;
    for (const heartbeat of this.#outstanding.values()) heartbeat.sentAt = undefined;
  }

  /** There is a new subscription: earlier heartbeats will not return on it. */
  restart(): void {
    this.provenAt = undefined;
    this.#outstanding.clear();
  }
}
