import type { RedisSubscriberSource } from "./client.ts";

/** A Redis process that takes writes: all there is, or one of a Cluster's. */
export interface Primary {
  /** Tells it from the others; empty where there is but one. */
  readonly id: string;
  /** What makes connections that listen to it. */
  subscriber(): RedisSubscriberSource | Promise<RedisSubscriberSource>;
  /** Whether the duplicate, once it is connected, really listens to it. */
  isHeardBy(duplicate: unknown): boolean;
  /** Publishes by the way that writes take to it. @throws SessionStoreError when it was not acknowledged */
  beat(channel: string, message: string): Promise<Beat>;
}

/**
 * What was learned from a heartbeat that Redis has taken:
 * - `proof`: the primaries are those of the last survey, so it proves what it is meant to once it has come back;
 * - `none`: it proves nothing, since that primary does not know yet what the others do;
 * - `changed`: the primaries are others now.
 */
export type Beat = "proof" | "none" | "changed";

/** The primaries that the sessions are spread over. */
export interface Primaries {
  /** Whether only `beat` can say that there are no others: then its answer is waited for, not only its echo. */
  readonly mayChange: boolean;
  /** Whether the client still knows the same ones as at the last survey; a look at it, nothing is sent. */
  readonly isCurrent: boolean;
  /** Finds out which they are; heartbeats are compared to this from then on. @throws SessionStoreError */
  survey(): Promise<readonly Primary[]>;
}
