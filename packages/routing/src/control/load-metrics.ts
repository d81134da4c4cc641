import { RoutingError } from '../errors.js';

/** How even a load is over n places (experts, ranks). An empty load counts as even. */
export interface LoadMetrics {
  total: number;
  mean: number;
  max: number;
  min: number;
  /** (max - mean) / mean, the MaxVio of the loss-free balancing paper: 0 when even. */
  maxVio: number;
  /** (mean - min) / mean. */
  minVio: number;
  /** mean |load - mean| / mean. */
  avgVio: number;
  /** Standard deviation (of the population) over mean. */
  cv: number;
  /** Unbiased variance over squared mean. */
  cv2Unbiased: number;
  /** Gini coefficient: 0 when even, 1 - 1/n when one place has all. */
  gini: number;
  /** Entropy of the shares, in nats. */
  entropy: number;
  /** Entropy over ln n: 1 when even. */
  normalizedEntropy: number;
  /** mean / max: 1 when even. */
  balancedness: number;
}

/**
 * Measures of balance of a load, for example of the `counts` of a routing decision.
 *
 * @example
 * ```ts
 * import { loadMetrics } from '@moestack/routing';
 *
 * console.log(loadMetrics([4, 4, 2, 6]).maxVio); // 0.5
 * ```
 */
export function loadMetrics(load: ArrayLike<number>): LoadMetrics {
  const n = load.length;
  let total = 0;
  let max = Number.NEGATIVE_INFINITY;
  let min = Number.POSITIVE_INFINITY;
  for (let i = 0; i < n; i++) {
    const value = load[i]!;
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
      throw new RoutingError({
        code: 'routing/not-finite',
        message: `expected finite loads >= 0, got ${value} at element ${i}`,
        value: String(value),
        remedy: 'pass counts of tokens',
      });
    }
    total += value;
    if (value > max) max = value;
    if (value < min) min = value;
  }
  if (n === 0 || total === 0) return evenLoad(n);
  const mean = total / n;
  let absolute = 0;
  let squares = 0;
  let entropy = 0;
  for (let i = 0; i < n; i++) {
    const value = load[i]!;
    absolute += Math.abs(value - mean);
    squares += (value - mean) ** 2;
    if (value > 0) entropy -= (value / total) * Math.log(value / total);
  }
  const sorted = Float64Array.from(load).sort();
  let ranked = 0;
  for (let i = 0; i < n; i++) ranked += (2 * i - n + 1) * sorted[i]!;
  return {
    total,
    mean,
    max,
    min,
    maxVio: (max - mean) / mean,
    minVio: (mean - min) / mean,
    avgVio: absolute / n / mean,
    cv: Math.sqrt(squares / n) / mean,
    cv2Unbiased: n === 1 ? 0 : squares / (n - 1) / (mean * mean),
    gini: ranked / (n * total),
    entropy,
    normalizedEntropy: n === 1 ? 1 : entropy / Math.log(n),
    balancedness: mean / max,
  };
}

function evenLoad(n: number): LoadMetrics {
  return {
    total: 0,
    mean: 0,
    max: 0,
    min: 0,
    maxVio: 0,
    minVio: 0,
    avgVio: 0,
    cv: 0,
    cv2Unbiased: 0,
    gini: 0,
    entropy: n === 0 ? 0 : Math.log(n),
    normalizedEntropy: 1,
    balancedness: 1,
  };
}
