/** How many processes cache each session; "shared" is one channel for all, as before, for comparison. */
export const MODES = ["shared", "one", "three", "all"] as const;
export const CLUSTER_MODES = ["one", "three", "all"] as const;
export type Mode = (typeof MODES)[number];

export const PROCESSES = [2, 10, 50, 200] as const;
export const MOST_PROCESSES = 200;
export const PRIMARIES = 3;

export const READ_KINDS = ["client's read", "store's read", "miss"] as const;
export const IN_FLIGHT = [1, 50] as const;
/** How many sessions are read in a round, by those in flight. No more than a cache keeps. */
export const READS = { 1: 5_000, 50: 10_000 } as const;
export const MOST_READS: number = READS[50];

export const cachingIn = (mode: Mode, processes: number): number =>
  ({ shared: 0, one: 1, three: Math.min(3, processes), all: processes })[mode];

/** µs of CPU for each write, or read. */
export interface Cost {
  /** Of each primary: first that which holds the sessions that are written. */
  readonly redisUs: readonly number[];
  /** Of a process other than the writer. */
  readonly nodeUs: number;
}
