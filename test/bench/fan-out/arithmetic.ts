/** y = at + per · x, by least squares. */
export interface Line {
  readonly at: number;
  readonly per: number;
}

export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const x = mean(([x]) => x);
  const y = mean(([, y]) => y);
  const xy = mean((point) => (point[0] - x) * (point[1] - y));
  const xx = mean((point) => (point[0] - x) ** 2);
  const per = xy / xx;
  return { at: y - per * x, per };
}

/** What was measured, in µs of CPU. */
export interface Costs {
  /** Of the server that executes a write, by the number of processes that receive its message. */
  readonly write: Line;
  /** Of each other primary. */
  readonly elsewhere: number;
  /** Of a process that receives a message. */
  readonly message: number;
}

/** What is to be calculated. The shares are of a core. */
export interface Fleet {
  readonly processes: number;
  readonly shards: number;
  readonly redisShare: number;
  readonly processShare: number;
}

/** How many writes, or deletions, per second. */
export interface Limits {
  /** That Redis can execute: all shards together. */
  readonly redis: number;
  /** That the processes can receive. */
  readonly processes: number;
}

/** Writes of sessions that are spread evenly over the shards. A message stays with its shard. @param receivers of each message */
export function mostWrites(receivers: number, { write, elsewhere, message }: Costs, fleet: Fleet): Limits {
  const { processes, shards, redisShare, processShare } = fleet;
  const us = write.at + write.per * receivers + (shards - 1) * elsewhere;
  return {
    redis: (1e6 * redisShare * shards) / us,
    processes: (1e6 * processShare * processes) / (receivers * message),
  };
}

/** Deletions: every shard publishes each of them to every process. */
export function mostDeletions({ write, message }: Costs, fleet: Fleet): Limits {
  const { processes, shards, redisShare, processShare } = fleet;
  return {
    redis: (1e6 * redisShare) / (write.at + write.per * processes),
    processes: (1e6 * processShare) / (shards * message),
  };
}
