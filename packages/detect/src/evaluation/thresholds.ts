import { DetectError } from '../errors.js';
import { mean } from '../scores/aggregates.js';
import { needBetween } from '../scores/checks.js';
import { ascending, countBelow, stepsOf } from './labelled-scores.js';
import { type FprOptions, needSupport } from './roc.js';

/** The best threshold by a criterion; of equal ones the largest. */
export interface BestThreshold {
  readonly threshold: number;
  /** Value of the criterion there. */
  readonly value: number;
}

/** Criteria of {@link bestThreshold}. */
export type ThresholdCriterion = 'f1' | 'youden' | 'accuracy';

/** The observed score that is the best threshold (AI when score >= threshold) by F1, by TPR - FPR, or by accuracy. */
export function bestThreshold(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  criterion: ThresholdCriterion,
): BestThreshold {
  const { thresholds, falsePositives, truePositives, humans, ais } = stepsOf(human, ai);
  let best: BestThreshold = { threshold: thresholds[0]!, value: -Infinity };
  for (let i = 0; i < thresholds.length; i++) {
    const tp = truePositives[i]!;
    const fp = falsePositives[i]!;
    const value =
      criterion === 'f1'
        ? (2 * tp) / (tp + fp + ais)
        : criterion === 'youden'
          ? tp / ais - fp / humans
          : (tp + humans - fp) / (humans + ais);
    if (value > best.value) best = { threshold: thresholds[i]!, value };
  }
  return best;
}

/** A threshold for a false-positive rate. */
export interface FprThreshold {
  readonly threshold: number;
  /** Rates at this threshold on these data. */
  readonly fpr: number;
  readonly tpr: number;
}

/**
 * The smallest observed score whose false-positive rate is at most the target; undefined when even the largest has a
 * higher one.
 *
 * @throws DetectError `detect/too-short` when `fpr` is below 1 / humans and `extrapolate` is not set
 */
export function thresholdForFpr(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  fpr: number,
  options: FprOptions = {},
): FprThreshold | undefined {
  needSupport(human.length, fpr, options);
  const { thresholds, falsePositives, truePositives, humans, ais } = stepsOf(human, ai);
  let found: FprThreshold | undefined;
  for (let i = 0; i < thresholds.length && falsePositives[i]! / humans <= fpr; i++) {
    found = {
      threshold: thresholds[i]!,
      fpr: falsePositives[i]! / humans,
      tpr: truePositives[i]! / ais,
    };
  }
  return found;
}

/** A split-conformal threshold. */
export interface ConformalThreshold {
  /** Flag a text when its score is above this; Infinity (never) when there are too few human texts for alpha. */
  readonly threshold: number;
  /** Order statistic that it is: ceil((n + 1) (1 - alpha)), counted from 1. */
  readonly k: number;
}

/**
 * The split-conformal threshold: at most a share alpha of new human texts from the same source scores above it, on average over
 * calibration sets.
 */
export function conformalThreshold(human: ArrayLike<number>, alpha: number): ConformalThreshold {
  needBetween('alpha', alpha, 0, 1);
  const sorted = ascending('human', human);
  // 0.05 * 100 and the like should not round up by a bit of rounding error.
  const k = Math.ceil((sorted.length + 1) * (1 - alpha) - 1e-9);
  return { threshold: k > sorted.length ? Infinity : sorted[k - 1]!, k };
}

/** Conformal p-value of a score: (1 + number of human scores at least as high) / (n + 1). */
export function conformalPValue(human: ArrayLike<number>, score: number): number {
  const sorted = ascending('human', human);
  return (1 + sorted.length - countBelow(sorted, score, false)) / (sorted.length + 1);
}

/** Result of {@link raidThreshold}. */
export interface RaidThreshold {
  readonly threshold: number;
  readonly fpr: number;
}

const RAID_STEPS = 50;

/**
 * The threshold search of the RAID benchmark's evaluator, step for step, for comparing with its board: from the mean human score
 * in steps of 0.5, halved and turned around whenever the error changes sign, until the rate is within epsilon. It depends on the
 * scale of the scores; prefer {@link thresholdForFpr}.
 */
export function raidThreshold(
  human: ArrayLike<number>,
  target: number,
  options: { readonly epsilon?: number } = {},
): RaidThreshold {
  const epsilon = options.epsilon ?? 0.0005;
  needBetween('target', target, 0, 1);
  const sorted = ascending('human', human);
  const rateAt = (threshold: number): number =>
    (sorted.length - countBelow(sorted, threshold, false)) / sorted.length;
  const tried: { threshold: number; error: number; fpr: number }[] = [];
  let threshold = mean(human);
  let step = 0.5;
  for (;;) {
    const fpr = rateAt(threshold);
    const error = target - fpr;
    if (Math.abs(error) <= epsilon) return { threshold, fpr };
    const previous = tried[tried.length - 1];
    tried.push({ threshold, error, fpr });
    if (previous !== undefined && error < 0 !== previous.error < 0) step *= -0.5;
    else if (previous !== undefined && Math.abs(error) - Math.abs(previous.error) > 0.01) step = -step;
    threshold += step;
    if (tried.length === RAID_STEPS) break;
  }
  // Not found: the closest rate below the target, else the closest above, thresholds that flag nothing left out.
  const usable = tried.filter((entry) => entry.fpr > 0);
  const below = usable.filter((entry) => entry.error >= 0);
  const order = (a: (typeof tried)[number], b: (typeof tried)[number]): number =>
    a.error - b.error || a.threshold - b.threshold;
  const chosen = below.length > 0 ? below.sort(order)[0] : usable.sort(order)[usable.length - 1];
  if (chosen === undefined) {
    throw new DetectError({
      code: 'detect/undefined-score',
      message: `expected a threshold with a false-positive rate near ${target}, found none in ${RAID_STEPS} steps`,
      value: target,
      remedy: 'use thresholdForFpr, which does not depend on the scale of the scores',
    });
  }
  return { threshold: chosen.threshold, fpr: chosen.fpr };
}
