import { DetectError } from '../errors.js';
import { ascending } from './labelled-scores.js';

/** A non-decreasing calibration: piecewise linear through (x, y), constant beyond the ends. */
export interface IsotonicCalibration {
  readonly x: Float64Array;
  readonly y: Float64Array;
}

/** Isotonic regression of the label on the score by pooling adjacent violators; equal scores are averaged first. */
export function fitIsotonic(human: ArrayLike<number>, ai: ArrayLike<number>): IsotonicCalibration {
  const h = ascending('human', human);
  const a = ascending('ai', ai);
  const xs: number[] = [];
  const pools: { sum: number; weight: number; points: number }[] = [];
  let i = 0;
  let j = 0;
  while (i < h.length || j < a.length) {
    const score = i === h.length ? a[j]! : j === a.length ? h[i]! : Math.min(h[i]!, a[j]!);
    const [i0, j0] = [i, j];
    while (i < h.length && h[i] === score) i++;
    while (j < a.length && a[j] === score) j++;
    if (!Number.isFinite(score)) throw infinite(score);
    xs.push(score);
    let pool = { sum: j - j0, weight: i - i0 + j - j0, points: 1 };
    for (let last = pools[pools.length - 1]; last !== undefined; last = pools[pools.length - 1]) {
      if (last.sum * pool.weight < pool.sum * last.weight) break;
      pools.pop();
      pool = {
        sum: last.sum + pool.sum,
        weight: last.weight + pool.weight,
        points: last.points + pool.points,
      };
    }
    pools.push(pool);
  }
  // Only the ends of each pool matter to the interpolation.
  const x: number[] = [];
  const y: number[] = [];
  let start = 0;
  for (const { sum, weight, points } of pools) {
    for (const at of points === 1 ? [start] : [start, start + points - 1]) {
      x.push(xs[at]!);
      y.push(sum / weight);
    }
    start += points;
  }
  return { x: Float64Array.from(x), y: Float64Array.from(y) };
}

/** p(AI) of a score. */
export function isotonicProbability(calibration: IsotonicCalibration, score: number): number {
  const { x, y } = calibration;
  const last = x.length - 1;
  if (!(score > x[0]!)) return y[0]!;
  if (score >= x[last]!) return y[last]!;
  let low = 0;
  let high = last;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle]! <= score) low = middle;
    else high = middle;
  }
  return y[low]! + ((score - x[low]!) / (x[high]! - x[low]!)) * (y[high]! - y[low]!);
}

function infinite(score: number): DetectError {
  return new DetectError({
    code: 'detect/not-finite',
    message: `expected finite scores for an isotonic calibration, got ${score}`,
    value: String(score),
    remedy: 'clip infinite scores to the largest finite one first',
  });
}
