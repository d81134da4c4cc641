import { DetectError } from '../errors.js';
import { needInteger, needLength } from '../scores/checks.js';

/** One bin of {@link calibrationError}. */
export interface CalibrationBin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Mean predicted probability. */
  readonly predicted: number;
  /** Share of AI texts. */
  readonly observed: number;
}

/** How well probabilities match labels. */
export interface CalibrationError {
  /** Expected calibration error: mean |predicted - observed| over equally wide bins, weighted by their counts. */
  readonly ece: number;
  /** Bins with texts in them. */
  readonly bins: readonly CalibrationBin[];
  /** Mean squared error of the probabilities. */
  readonly brier: number;
  /** Mean -ln of the probability given to the label; Infinity when a certain prediction was wrong. */
  readonly logLoss: number;
}

/** Calibration of probabilities `[n]` against labels `[n]`, in equally wide bins (default 10). */
export function calibrationError(
  probabilities: ArrayLike<number>,
  isAi: ArrayLike<number>,
  options: { readonly bins?: number } = {},
): CalibrationError {
  const bins = options.bins ?? 10;
  const n = probabilities.length;
  needInteger('bins', bins, 1, 100_000);
  needLength('isAi', isAi, n);
  if (n === 0) {
    throw new DetectError({
      code: 'detect/too-short',
      message: 'expected at least 1 probability, got 0',
      value: 0,
      remedy: 'evaluate a calibration on held-out texts',
    });
  }
  const counts = new Float64Array(bins);
  const predicted = new Float64Array(bins);
  const observed = new Float64Array(bins);
  let brier = 0;
  let logLoss = 0;
  for (let i = 0; i < n; i++) {
    const p = probabilities[i]!;
    if (!(p >= 0 && p <= 1)) {
      throw new DetectError({
        code: 'detect/not-finite',
        message: `expected probabilities from 0 to 1, got ${p} at index ${i}`,
        value: String(p),
        remedy: 'calibrate scores before measuring their calibration',
      });
    }
    const label = isAi[i] !== 0 ? 1 : 0;
    const bin = Math.min(Math.floor(p * bins), bins - 1);
    counts[bin]!++;
    predicted[bin]! += p;
    observed[bin]! += label;
    brier += (p - label) ** 2;
    logLoss -= label === 1 ? Math.log(p) : Math.log1p(-p);
  }
  let ece = 0;
  const filled: CalibrationBin[] = [];
  for (let b = 0; b < bins; b++) {
    const count = counts[b]!;
    if (count === 0) continue;
    filled.push({
      low: b / bins,
      high: (b + 1) / bins,
      count,
      predicted: predicted[b]! / count,
      observed: observed[b]! / count,
    });
    ece += Math.abs(predicted[b]! - observed[b]!) / n;
  }
  return { ece, bins: filled, brier: brier / n, logLoss: logLoss / n };
}
