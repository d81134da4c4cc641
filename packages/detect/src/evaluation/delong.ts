import { needBetween, needLength } from '../scores/checks.js';
import { ascending, countBelow } from './labelled-scores.js';
import { normalQuantile, normalSurvival } from './special-functions.js';

/** An interval; `low <= high`. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Area under the ROC curve with DeLong's variance. */
export interface DelongResult {
  readonly auc: number;
  readonly variance: number;
  readonly standardError: number;
  /** auc -+ z standardError; may leave [0, 1]. */
  readonly interval: Interval;
  /** The interval on the logit scale, inside (0, 1); undefined for an auc of 0 or 1, where it has no width. */
  readonly logitInterval: Interval | undefined;
}

/** Options of {@link delong}. */
export interface ConfidenceOptions {
  /** Default 0.95. */
  readonly confidence?: number;
}

interface Placements {
  readonly auc: number;
  /** Share of human scores below each AI score, ties half. */
  readonly ai: Float64Array;
  /** Share of AI scores above each human score, ties half. */
  readonly human: Float64Array;
}

/**
 * DeLong's variance of the AUC (DeLong et al. 1988), by placements from sorted classes: O(n log n).
 *
 * @throws DetectError `detect/too-short` with fewer than two scores of a class
 */
export function delong(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  options: ConfidenceOptions = {},
): DelongResult {
  const placements = placementsOf(human, ai);
  return resultOf(placements, options.confidence ?? 0.95);
}

/** Comparison of two detectors on the same texts. */
export interface DelongComparison {
  readonly first: DelongResult;
  readonly second: DelongResult;
  readonly covariance: number;
  /** (first.auc - second.auc) / standard error of the difference; 0 when both are the same. */
  readonly z: number;
  /** Two-sided p-value. */
  readonly p: number;
}

/** DeLong's test of two AUCs measured on the same texts; element i of both sets belongs to the same text. */
export function delongPaired(
  first: { readonly human: ArrayLike<number>; readonly ai: ArrayLike<number> },
  second: { readonly human: ArrayLike<number>; readonly ai: ArrayLike<number> },
  options: ConfidenceOptions = {},
): DelongComparison {
  needLength('second.human', second.human, first.human.length);
  needLength('second.ai', second.ai, first.ai.length);
  const a = placementsOf(first.human, first.ai);
  const b = placementsOf(second.human, second.ai);
  const confidence = options.confidence ?? 0.95;
  const [one, two] = [resultOf(a, confidence), resultOf(b, confidence)];
  const cov =
    covariance(a.ai, b.ai, a.auc, b.auc) / a.ai.length +
    covariance(a.human, b.human, a.auc, b.auc) / a.human.length;
  const difference = one.auc - two.auc;
  const variance = Math.max(one.variance + two.variance - 2 * cov, 0);
  const z = difference === 0 ? 0 : difference / Math.sqrt(variance);
  return { first: one, second: two, covariance: cov, z, p: 2 * normalSurvival(Math.abs(z)) };
}

function placementsOf(human: ArrayLike<number>, ai: ArrayLike<number>): Placements {
  const sortedHuman = ascending('human', human, 2);
  const sortedAi = ascending('ai', ai, 2);
  const n0 = sortedHuman.length;
  const n1 = sortedAi.length;
  let twice = 0;
  const aiPlacements = Float64Array.from(ai, (score) => {
    const count = countBelow(sortedHuman, score, false) + countBelow(sortedHuman, score, true);
    twice += count;
    return count / 2 / n0;
  });
  const humanPlacements = Float64Array.from(human, (score) => {
    const notAbove = countBelow(sortedAi, score, false) + countBelow(sortedAi, score, true);
    return 1 - notAbove / 2 / n1;
  });
  return { auc: twice / 2 / (n0 * n1), ai: aiPlacements, human: humanPlacements };
}

function resultOf(placements: Placements, confidence: number): DelongResult {
  needBetween('confidence', confidence, 0, 1);
  const { auc, ai, human } = placements;
  const variance =
    covariance(ai, ai, auc, auc) / ai.length + covariance(human, human, auc, auc) / human.length;
  const standardError = Math.sqrt(variance);
  const z = normalQuantile(1 - (1 - confidence) / 2);
  let logitInterval: Interval | undefined;
  if (auc > 0 && auc < 1) {
    const center = Math.log(auc / (1 - auc));
    const half = (z * standardError) / (auc * (1 - auc));
    logitInterval = { low: 1 / (1 + Math.exp(half - center)), high: 1 / (1 + Math.exp(-half - center)) };
  }
  return {
    auc,
    variance,
    standardError,
    interval: { low: auc - z * standardError, high: auc + z * standardError },
    logitInterval,
  };
}

/** Both placements have the AUC as their mean. */
function covariance(x: Float64Array, y: Float64Array, meanX: number, meanY: number): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i]! - meanX) * (y[i]! - meanY);
  return sum / (x.length - 1);
}
