const STRIPES = 4096;

/** Proof that nothing has been heard of a session since the token was taken. */
export interface FillToken {
  readonly stripe: number;
  readonly version: number;
  readonly epoch: number;
}

/**
 * Keeps a reply that has been overtaken out of the cache.
 *
 * 1. Who reads or writes a session takes a token first.
 * 2. Whatever makes the reply old voids it: an invalidation or a local write of that session, or, for all sessions at
 *    once, a clear or a flush.
 * 3. The reply is cached only if the token is valid at that moment.
 *
 * A token is a version of the session's stripe, one of a fixed number that the session ids are hashed to, and of the
 * epoch, which belongs to all. So nothing has to be kept, bounded or cleaned up for the operations in flight, at the
 * price that a session sharing the stripe may void a token for nothing: that reply is then not cached, which is never wrong.
 *
 * Source of the idea: "leases" in R. Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1.
 */
export class FillFence {
  readonly #versions = new Uint32Array(STRIPES);
  #epoch = 0;

  take(sid: string): FillToken {
    const stripe = stripeOf(sid);
    return { stripe, version: this.#versions[stripe] as number, epoch: this.#epoch };
  }

  isValid(token: FillToken): boolean {
    return token.epoch === this.#epoch && token.version === this.#versions[token.stripe];
  }

  /** Whether nothing has revoked all tokens since it was taken. */
  isSameEpoch(token: FillToken): boolean {
    return token.epoch === this.#epoch;
  }

  revoke(sid: string): void {
    const stripe = stripeOf(sid);
    this.#versions[stripe] = (this.#versions[stripe] as number) + 1;
  }

  revokeAll(): void {
    this.#epoch++;
  }
}

/** FNV-1a. */
function stripeOf(sid: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < sid.length; i++) hash = Math.imul(hash ^ sid.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 16)) & (STRIPES - 1);
}
