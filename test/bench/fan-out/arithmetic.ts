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

/**
 * How many writes per second one channel bears.
 * @param redisUs Redis's CPU for a write, by the number of processes
 * @param nodeUs a process's CPU for a message
 * @param share of a core that Redis may spend on writes and their messages, and a process on messages
 */
export function mostWrites(
  processes: number,
  redisUs: Line,
  nodeUs: number,
  share: { readonly redis: number; readonly node: number },
): { readonly redis: number; readonly node: number } {
  return {
    redis: (1e6 * share.redis) / (redisUs.at + redisUs.per * processes),
    node: (1e6 * share.node) / nodeUs,
  };
}
