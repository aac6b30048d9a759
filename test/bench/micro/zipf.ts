/**
 * `count` numbers below `items`, the k-th most frequent of which comes in proportion to 1/k: how users come back. The
 * numbers are dealt out at random, so that frequent ones do not lie side by side.
 */
export function zipf(items: number, count: number): Uint32Array {
  const sums = new Float64Array(items);
  let sum = 0;
  for (let k = 0; k < items; k++) {
    sum += 1 / (k + 1);
    sums[k] = sum;
  }
  const dealt = shuffled(items);
  return Uint32Array.from({ length: count }, () => dealt[firstAtLeast(sums, Math.random() * sum)] as number);
}

function shuffled(items: number): Uint32Array {
  const numbers = Uint32Array.from({ length: items }, (_, i) => i);
  for (let i = items - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const kept = numbers[i] as number;
    numbers[i] = numbers[j] as number;
    numbers[j] = kept;
  }
  return numbers;
}

function firstAtLeast(sums: Float64Array, wanted: number): number {
  let low = 0;
  let high = sums.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sums[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
