const STRIPES = 4096;

/** Identifies the moment at which a read or write began. See {@link FillFence}. */
export interface FillToken {
  readonly stripe: number;
  readonly version: number;
  readonly epoch: number;
}

/**
 * Keeps outdated replies out of the cache.
 *
 * 1. An operation takes a token before it sends its command.
 * 2. Whatever makes the reply outdated revokes the token: an invalidation or a local write of that session, or a clear or a
 *    flush, which revoke all tokens.
 * 3. The reply is cached only if the token is still valid.
 *
 * A token is the version of the session's stripe, one of a fixed number to which session ids are hashed, and the epoch,
 * which all sessions share. So memory stays constant, however many operations are in flight. In return, a session on the
 * same stripe may revoke a token without need: that reply is not cached, which is never wrong.
 *
 * Source of the idea: "leases" in R. Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1.
 */
export class FillFence {
  readonly #versions = new Uint32Array(STRIPES);
  #epoch = 0;

  /** Takes a token for an operation on `sid`. */
  take(sid: string): FillToken {
    const stripe = stripeOf(sid);
    return { stripe, version: this.#versions[stripe] as number, epoch: this.#epoch };
  }

  /** Whether `token` has not been revoked. */
  isValid(token: FillToken): boolean {
    return token.epoch === this.#epoch && token.version === this.#versions[token.stripe];
  }

  /** Whether no call of `revokeAll` has revoked `token`. */
  isSameEpoch(token: FillToken): boolean {
    return token.epoch === this.#epoch;
  }

  /** Revokes the tokens of one session. */
  revoke(sid: string): void {
    const stripe = stripeOf(sid);
    this.#versions[stripe] = (this.#versions[stripe] as number) + 1;
  }

  /** Revokes all tokens. */
  revokeAll(): void {
    this.#epoch++;
  }
}

/** FNV-1a, folded to the number of stripes. */
function stripeOf(sid: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < sid.length; i++) hash = Math.imul(hash ^ sid.charCodeAt(i), 0x01000193);
  return (hash ^ (hash >>> 16)) & (STRIPES - 1);
}
