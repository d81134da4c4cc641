import { DetectError } from '../errors.js';
import { needBetween } from '../scores/checks.js';
import { ascending, countBelow, stepsOf } from './labelled-scores.js';

/** A ROC curve from (0, 0) to (1, 1); a text counts as AI when its score is at least the threshold. */
export interface RocCurve {
  readonly fpr: Float64Array;
  readonly tpr: Float64Array;
  /** First element Infinity: nothing is flagged. */
  readonly thresholds: Float64Array;
}

/** Options of {@link rocCurve}. */
export interface RocOptions {
  /** Leave out points between neighbours on a straight line, as scikit-learn does. Default true. */
  readonly dropCollinear?: boolean;
}

/** The ROC curve of two sets of scores, high meaning AI. */
export function rocCurve(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  options: RocOptions = {},
): RocCurve {
  const { thresholds, falsePositives, truePositives, humans, ais } = stepsOf(human, ai);
  const fpr = [0];
  const tpr = [0];
  const kept = [Infinity];
  const last = thresholds.length - 1;
  for (let i = 0; i <= last; i++) {
    const straight =
      i > 0 &&
      i < last &&
      falsePositives[i + 1]! - falsePositives[i]! === falsePositives[i]! - falsePositives[i - 1]! &&
      truePositives[i + 1]! - truePositives[i]! === truePositives[i]! - truePositives[i - 1]!;
    if (straight && options.dropCollinear !== false) continue;
    fpr.push(falsePositives[i]! / humans);
    tpr.push(truePositives[i]! / ais);
    kept.push(thresholds[i]!);
  }
  return { fpr: Float64Array.from(fpr), tpr: Float64Array.from(tpr), thresholds: Float64Array.from(kept) };
}

/** Probability that an AI text scores higher than a human one, ties counting half: the area under the ROC curve. */
export function rocAuc(human: ArrayLike<number>, ai: ArrayLike<number>): number {
  const h = ascending('human', human);
  const a = ascending('ai', ai);
  // Twice the number of won pairs: a whole number, exact to 2^53.
  let twice = 0;
  for (let i = 0; i < a.length; i++) twice += countBelow(h, a[i]!, false) + countBelow(h, a[i]!, true);
  return twice / 2 / (h.length * a.length);
}

/** Options of {@link tprAtFpr} and {@link thresholdForFpr}. */
export interface FprOptions {
  /**
   * Allow a target below 1 / (number of human texts): the data say nothing about such rates, since the smallest that can be
   * seen is one text. Default false: a typed error.
   */
  readonly extrapolate?: boolean;
}

/** TPR of a ROC curve at a false-positive rate. */
export interface TprAtFpr {
  /** Largest TPR of a threshold whose FPR is at most the target: what a threshold can deliver. */
  readonly step: number;
  /** Linear interpolation on the full curve, as Binoculars publishes it; never below `step`. */
  readonly interpolated: number;
}

/**
 * TPR at a false-positive rate.
 *
 * @throws DetectError `detect/too-short` when `fpr` is below 1 / humans and `extrapolate` is not set
 */
export function tprAtFpr(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  fpr: number,
  options: FprOptions = {},
): TprAtFpr {
  needSupport(human.length, fpr, options);
  const curve = rocCurve(human, ai, { dropCollinear: false });
  let at = 0;
  while (at + 1 < curve.fpr.length && curve.fpr[at + 1]! <= fpr) at++;
  const step = curve.tpr[at]!;
  if (at + 1 === curve.fpr.length) return { step, interpolated: step };
  const share = (fpr - curve.fpr[at]!) / (curve.fpr[at + 1]! - curve.fpr[at]!);
  return { step, interpolated: step + share * (curve.tpr[at + 1]! - step) };
}

/** Throws when so few human texts cannot show the rate. */
export function needSupport(humans: number, fpr: number, options: FprOptions): void {
  needBetween('fpr', fpr, 0, 1);
  if (options.extrapolate === true || fpr * humans >= 1) return;
  throw new DetectError({
    code: 'detect/too-short',
    message: `expected at least ${Math.ceil(1 / fpr)} human texts for a false-positive rate of ${fpr}, got ${humans}`,
    value: humans,
    remedy: 'use more human texts or a larger rate; extrapolate: true gives the figure all the same',
  });
}

/**
 * Area under the ROC curve up to a false-positive rate, standardised so that chance is 0.5 and perfection 1 (McClish 1989).
 */
export function partialAuc(human: ArrayLike<number>, ai: ArrayLike<number>, maximumFpr: number): number {
  needBetween('maximumFpr', maximumFpr, 0, 1 + Number.EPSILON);
  const { fpr, tpr } = rocCurve(human, ai, { dropCollinear: false });
  let area = 0;
  for (let i = 1; i < fpr.length; i++) {
    const width = fpr[i]! - fpr[i - 1]!;
    if (fpr[i]! <= maximumFpr) area += (width * (tpr[i]! + tpr[i - 1]!)) / 2;
    else {
      const part = maximumFpr - fpr[i - 1]!;
      const end = tpr[i - 1]! + ((tpr[i]! - tpr[i - 1]!) * part) / width;
      area += (part * (end + tpr[i - 1]!)) / 2;
      break;
    }
  }
  const least = maximumFpr ** 2 / 2;
  return (1 + (area - least) / (maximumFpr - least)) / 2;
}
