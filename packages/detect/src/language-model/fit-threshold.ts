import { DetectError } from '../errors.js';
import { splitByLabel } from '../evaluation/labelled-scores.js';
import { bestThreshold, conformalThreshold, thresholdForFpr } from '../evaluation/thresholds.js';
import type { DetectorScore } from './measure-text.js';
import type { DetectorThreshold } from './threshold.js';

/** How {@link fitThreshold} chooses. */
export type ThresholdRule =
  | { readonly type: 'fpr'; readonly fpr: number }
  | { readonly type: 'conformal'; readonly alpha: number }
  | { readonly type: 'f1' | 'youden' | 'accuracy' };

/** Options of {@link fitThreshold}. */
export interface FitThresholdOptions {
  readonly rule: ThresholdRule;
  /** What the texts are, for whoever reads the threshold later. */
  readonly dataset: string;
}

/**
 * A threshold from scored texts of both kinds, bound to the detector and models that scored them.
 *
 * @throws DetectError `detect/model-mismatch` when the scores are of different detectors or models; `detect/too-short` when there
 * are too few human texts for the rate asked for
 *
 * @example
 * ```ts
 * import { applyThreshold, type DetectorScore, fitThreshold } from '@moestack/detect';
 *
 * const score = (value: number): DetectorScore => ({
 *   detector: 'lrr',
 *   value,
 *   orientation: 'high',
 *   tokens: 200,
 *   models: { performer: { name: 'demo', dtype: 'f32' } },
 * });
 * const scores = [1.1, 1.3, 1.2, 1.9, 2.1, 1.8].map(score);
 * const threshold = fitThreshold(scores, [0, 0, 0, 1, 1, 1], { rule: { type: 'f1' }, dataset: 'demo' });
 * console.log(threshold.threshold, applyThreshold(score(2), threshold).flagged);
 * ```
 */
export function fitThreshold(
  scores: readonly DetectorScore[],
  isAi: ArrayLike<number>,
  options: FitThresholdOptions,
): DetectorThreshold {
  const first = scores[0];
  if (first === undefined) {
    throw new DetectError({
      code: 'detect/too-short',
      message: 'expected at least 1 score, got 0',
      value: 0,
      remedy: 'score texts of both kinds first',
    });
  }
  const key = keyOf(first);
  const odd = scores.findIndex((score) => keyOf(score) !== key);
  if (odd >= 0) {
    throw new DetectError({
      code: 'detect/model-mismatch',
      message: `expected scores of one detector and one pair of models, got another at index ${odd}`,
      value: odd,
      remedy: 'fit one threshold for each detector and pair of models',
    });
  }
  const { human, ai } = splitByLabel(
    scores.map(({ value }) => value),
    isAi,
    first.orientation,
  );
  return {
    schemaVersion: 1,
    detector: first.detector,
    threshold: thresholdOf(human, ai, options.rule, first.orientation === 'low'),
    models: first.models,
    rule: describe(options.rule),
    fittedOn: { dataset: options.dataset, humans: human.length, ais: ai.length },
  };
}

/**
 * Scores were negated where low means AI. There a text is flagged strictly below the threshold, elsewhere at or above it; a
 * conformal threshold flags strictly above: the next number up turns one kind of comparison into the other.
 */
function thresholdOf(human: Float64Array, ai: Float64Array, rule: ThresholdRule, negated: boolean): number {
  if (rule.type === 'conformal') {
    const { threshold } = conformalThreshold(human, rule.alpha);
    return negated ? -threshold : nextUp(threshold);
  }
  const threshold =
    rule.type === 'fpr'
      ? thresholdForFpr(human, ai, rule.fpr)?.threshold
      : bestThreshold(human, ai, rule.type).threshold;
  // No observed score has so low a rate: beyond the largest, nothing is flagged.
  if (threshold === undefined) return negated ? -Infinity : Infinity;
  return negated ? nextUp(-threshold) : threshold;
}

function describe(rule: ThresholdRule): string {
  if (rule.type === 'fpr') return `fpr ${rule.fpr}`;
  return rule.type === 'conformal' ? `conformal ${rule.alpha}` : rule.type;
}

function keyOf({ detector, models }: DetectorScore): string {
  const { performer, observer } = models;
  return JSON.stringify([detector, performer.name, performer.dtype, observer?.name, observer?.dtype]);
}

/** The smallest double above x. */
function nextUp(x: number): number {
  if (x === Infinity) return x;
  if (x === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + (x > 0 ? 1n : -1n));
  return view.getFloat64(0);
}
