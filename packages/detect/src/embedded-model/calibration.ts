/** Turns scores into probabilities that know how long the text was, fitted on texts that the scoring model had not seen. */
export interface ProseCalibration {
  /** logit p = a + (b + c ln(words / 100)) score. */
  readonly a: number;
  readonly b: number;
  readonly c: number;
  /** Covariance of a, b and c over resampled human texts, row by row. `[9]` */
  readonly covariance: readonly number[];
  /** Standard deviation of the logit's offset between kinds of texts and generators. */
  readonly shift: number;
  /** Lengths that the fit has seen; others count as the nearest of them. */
  readonly words: { readonly minimum: number; readonly maximum: number };
  /** Split-conformal thresholds on the logit by length, ascending. */
  readonly conformal: readonly ConformalBin[];
  /** Bounds of the domain: larger is out of it. By length, ascending. */
  readonly domain: readonly DomainBin[];
  /** Scores of short pieces, for finding changes of hand. */
  readonly units: UnitLevels;
}

/** How scores of pieces of one length lie. */
export interface UnitLevels {
  readonly words: number;
  /** Mean score of either side. */
  readonly human: number;
  readonly ai: number;
  /** Standard deviation of pieces around their text's mean. */
  readonly within: number;
  /** Standard deviation of texts around their side's mean. */
  readonly between: number;
}

/** Thresholds for texts of at least `words` words; flag when the logit is above. */
export interface ConformalBin {
  readonly words: number;
  readonly humans: number;
  readonly thresholds: Readonly<Record<`${ConformalAlpha}`, number>>;
}

/** Largest distance and share of unseen sequences of texts of at least `words` words. */
export interface DomainBin {
  readonly words: number;
  readonly distance: number;
  readonly unseen: number;
}

/** Shares of human texts that a threshold may flag. */
export type ConformalAlpha = 0.01 | 0.05 | 0.1;

/** A probability with how far it can be trusted. */
export interface CalibratedProbability {
  readonly logit: number;
  readonly probability: number;
  /** 95 %: the sampling error of the calibration and the shift between kinds of texts. */
  readonly interval: readonly [low: number, high: number];
}

/** The probability that a text of some score and length is AI, for even prior odds. */
export function calibrate(
  score: number,
  words: number,
  calibration: ProseCalibration,
): CalibratedProbability {
  const { a, b, c, covariance, shift } = calibration;
  const n = Math.max(calibration.words.minimum, Math.min(calibration.words.maximum, words));
  const length = Math.log(n / 100);
  const logit = a + (b + c * length) * score;
  const row = [1, score, length * score];
  let variance = shift * shift;
  for (let i = 0; i < 3; i++)
    for (let j = 0; j < 3; j++) variance += row[i]! * covariance[3 * i + j]! * row[j]!;
  const margin = 1.96 * Math.sqrt(Math.max(0, variance));
  return { logit, probability: sigmoid(logit), interval: [sigmoid(logit - margin), sigmoid(logit + margin)] };
}

/** The bin for a length; the first one for shorter texts. */
export function binFor<Bin extends { readonly words: number }>(bins: readonly Bin[], words: number): Bin {
  let found = bins[0]!;
  for (const bin of bins) if (bin.words <= words) found = bin;
  return found;
}

/** 1 / (1 + exp(-x)). */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
