/** What several rounds of one measurement gave. */
export interface Spread {
  readonly median: number;
  /** The lower and the upper quartile. */
  readonly low: number;
  readonly high: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) };
}

/** @param sorted in ascending order */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** On a machine that others use, too, disturbance only ever adds: a low quantile is nearer to the truth than the mean. */
export function lowerQuartile(values: readonly number[]): number {
  return quantile(
    values.toSorted((a, b) => a - b),
    0.25,
  );
}

/** A number with as many digits as it deserves. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  if (size >= 10) return value.toFixed(1);
  return value === 0 ? "0" : value.toFixed(size < 0.1 ? 3 : 2);
}

/** The median and, behind it, the quartiles. */
export function shortSpread({ median, low, high }: Spread): string {
  return low === high ? short(median) : `${short(median)} (${short(low)}–${short(high)})`;
}
