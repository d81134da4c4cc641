import { DetectError } from '../errors.js';
import { ascending } from './labelled-scores.js';

/** A logistic calibration: p(AI) = 1 / (1 + exp(a score + b)). */
export interface PlattCalibration {
  readonly a: number;
  readonly b: number;
}

/** Options of {@link fitPlatt}. */
export interface PlattOptions {
  /**
   * `smoothed` (default): Platt's targets (n1 + 1) / (n1 + 2) and 1 / (n0 + 2), defined for separable classes too; `labels`: plain
   * maximum likelihood.
   */
  readonly targets?: 'smoothed' | 'labels';
}

const STEPS = 200;

/**
 * Fits Platt's calibration by Newton's method with backtracking (Lin, Lin and Weng 2007), to the minimum.
 *
 * @throws DetectError `detect/undefined-score` for `labels` with separable classes: the likelihood has no maximum
 */
export function fitPlatt(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  options: PlattOptions = {},
): PlattCalibration {
  const sorted = [ascending('human', human), ascending('ai', ai)] as const;
  const [n0, n1] = [human.length, ai.length];
  const smoothed = options.targets !== 'labels';
  if (!smoothed && isSeparable(...sorted)) throw noMaximum();
  const x = Float64Array.from([...sorted[0], ...sorted[1]]);
  if (!Number.isFinite(sorted[0][0]! + sorted[1][0]! + sorted[0][n0 - 1]! + sorted[1][n1 - 1]!))
    throw infinite();
  const high = smoothed ? (n1 + 1) / (n1 + 2) : 1;
  const low = smoothed ? 1 / (n0 + 2) : 0;
  const target = (i: number): number => (i < n0 ? low : high);

  let a = 0;
  let b = smoothed ? Math.log((n0 + 1) / (n1 + 1)) : 0;
  let loss = lossOf(x, target, a, b);
  for (let step = 0; step < STEPS; step++) {
    let ga = 0;
    let gb = 0;
    let haa = 0;
    let hab = 0;
    let hbb = 0;
    for (let i = 0; i < x.length; i++) {
      const p = plattProbability({ a, b }, x[i]!);
      const difference = target(i) - p;
      const weight = p * (1 - p);
      ga += x[i]! * difference;
      gb += difference;
      haa += x[i]! ** 2 * weight;
      hab += x[i]! * weight;
      hbb += weight;
    }
    // The ridge makes a flat direction (all scores equal) harmless: the step stays on the shortest way.
    const ridge = 1e-12 * (haa + hbb) + Number.MIN_VALUE;
    const determinant = (haa + ridge) * (hbb + ridge) - hab * hab;
    const da = -((hbb + ridge) * ga - hab * gb) / determinant;
    const db = -((haa + ridge) * gb - hab * ga) / determinant;
    const slope = ga * da + gb * db;
    if (!(slope < -1e-25)) break;
    let length = 1;
    let next = loss;
    for (; length > 1e-10; length /= 2) {
      next = lossOf(x, target, a + length * da, b + length * db);
      if (next <= loss + 1e-4 * length * slope) break;
    }
    if (!(next < loss)) break;
    a += length * da;
    b += length * db;
    loss = next;
  }
  return { a, b };
}

/** p(AI) of a score. */
export function plattProbability(calibration: PlattCalibration, score: number): number {
  const { a, b } = calibration;
  if (score === Infinity || score === -Infinity) {
    return a === 0 ? 1 / (1 + Math.exp(b)) : a * score < 0 ? 1 : 0;
  }
  return 1 / (1 + Math.exp(a * score + b));
}

/** Cross-entropy, written so that large margins do not overflow. */
function lossOf(x: Float64Array, target: (i: number) => number, a: number, b: number): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    const f = a * x[i]! + b;
    sum += f >= 0 ? target(i) * f + Math.log1p(Math.exp(-f)) : (target(i) - 1) * f + Math.log1p(Math.exp(f));
  }
  return sum;
}

function isSeparable(human: Float64Array, ai: Float64Array): boolean {
  const constant = human[0] === ai[ai.length - 1] && human[human.length - 1] === ai[0];
  return !constant && (human[human.length - 1]! <= ai[0]! || ai[ai.length - 1]! <= human[0]!);
}

function noMaximum(): DetectError {
  return new DetectError({
    code: 'detect/undefined-score',
    message: 'expected overlapping classes for plain maximum likelihood, got separable ones',
    remedy: "use targets: 'smoothed'",
  });
}

function infinite(): DetectError {
  return new DetectError({
    code: 'detect/not-finite',
    message: 'expected finite scores for a logistic calibration, got an infinite one',
    remedy: 'clip or leave out infinite scores, or use an isotonic calibration',
  });
}
