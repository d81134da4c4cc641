import { DetectError } from '../errors.js';

/** Arithmetic mean; the array must not be empty. */
export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum / values.length;
}

/** Standard deviation with `ddof` degrees of freedom taken off. */
export function standardDeviation(values: ArrayLike<number>, ddof: 0 | 1): number {
  const center = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i]! - center) ** 2;
  return Math.sqrt(sum / (values.length - ddof));
}

/** Median, the mean of the middle two for even counts. */
export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** The number, or an error to abstain on when it is NaN: a score is never NaN. */
export function defined(detector: string, value: number): number {
  if (!Number.isNaN(value)) return value;
  throw new DetectError({
    code: 'detect/undefined-score',
    message: `expected a defined ${detector} score, got 0/0 or a difference of infinities`,
    remedy: 'abstain: this text has no such score, usually because a token has probability 0 in the model',
  });
}
