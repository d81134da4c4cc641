import { delong, type Interval } from './delong.js';
import { splitByLabel } from './labelled-scores.js';
import { precisionRecallAreas } from './precision-recall.js';

/** Result of {@link evaluate}. */
export interface Evaluation {
  /** Area under the ROC curve. */
  readonly rocAuc: number;
  /** Trapezoidal area under the precision-recall curve. */
  readonly prAuc: number;
  /** DeLong's 95 % interval of the AUC, auc -+ 1.96 standardError; it may leave [0, 1] (see {@link delong} for the logit scale). */
  readonly delong: Interval & { readonly standardError: number };
}

/**
 * How well scores separate AI texts (label 1) from human ones (label 0), high scores meaning AI.
 *
 * @throws DetectError `detect/too-short` with fewer than two texts of a kind, `detect/not-finite` for a NaN score
 *
 * @example
 * ```ts
 * import { evaluate } from '@moestack/detect';
 *
 * const { rocAuc, delong } = evaluate([0.1, 0.4, 0.35, 0.8, 0.7], [0, 0, 1, 1, 1]);
 * console.log(rocAuc, delong.low, delong.high);
 * ```
 */
export function evaluate(scores: ArrayLike<number>, isAi: ArrayLike<number>): Evaluation {
  const { human, ai } = splitByLabel(scores, isAi);
  const { auc, standardError, interval } = delong(human, ai);
  return {
    rocAuc: auc,
    prAuc: precisionRecallAreas(human, ai).trapezoid,
    delong: { low: interval.low, high: interval.high, standardError },
  };
}
