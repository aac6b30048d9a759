/** A text that this process wrote or tried to write. */
export interface Version {
  /** What the holder of the object had when it was written. */
  readonly base: string;
  /** What Redis holds, or may hold, because of it: the same, unless it was merged. */
  readonly current: string;
}

/** What is known of a session object in a request's hands. */
export interface LoadedState extends Version {
  readonly sid: string;
  /** When its key expires, by performance.now(); undefined for never. */
  readonly expiresAt: number | undefined;
  /** The cookie's `originalMaxAge` when it was loaded or saved. */
  readonly maxAge: unknown;
  /** It is a request's Session that Redis held: saving it must not restore a deleted session. */
  readonly isStored: boolean;
  /** Saves since then with an unknown outcome. */
  readonly attempts: readonly Version[];
}

/** Past that the oldest attempt is dropped; the next merge then takes it for another writer's. */
export const MAX_ATTEMPTS = 8;

export const NO_ATTEMPTS: readonly Version[] = [];
