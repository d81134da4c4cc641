import { defined, mean, standardDeviation } from './aggregates.js';
import { tooShort } from './checks.js';
import type { TextStatistics } from './text-statistics.js';

/**
 * Fast-DetectGPT's analytic conditional probability curvature (Bao et al. 2024, arXiv 2310.05130):
 * (sum ln q(token) - sum m) / sqrt(sum s), with m and s the mean and variance of ln q under the reference model. High means AI.
 *
 * A text whose every token is exactly as likely as expected from distributions without variance scores 0.
 */
export function fastDetectGpt(statistics: TextStatistics): number {
  const { length, logProb, crossEntropy, crossVariance } = statistics.tokens;
  if (length === 0) throw tooShort('Fast-DetectGPT', 1, 0);
  let difference = 0;
  let variance = 0;
  for (let i = 0; i < length; i++) {
    difference += logProb[i]! + crossEntropy[i]!;
    variance += crossVariance[i]!;
  }
  if (difference === 0 && variance === 0) return 0;
  return defined('Fast-DetectGPT', difference / Math.sqrt(variance));
}

/**
 * Fast-DetectGPT by sampling: (mean ln q(token) - mean of the samples) / their unbiased standard deviation.
 * Needs {@link TextScorerOptions.sampling}.
 */
export function sampledDiscrepancy(statistics: TextStatistics): number {
  const { length, logProb } = statistics.tokens;
  if (length === 0 || statistics.samples < 2) throw tooShort('the sampling discrepancy', 1, length);
  const likelihoods = sampledRows(statistics).map(mean);
  return discrepancy('sampling discrepancy', mean(logProb), likelihoods);
}

/** The rows of `sampledLogProbs`, one per sample. */
export function sampledRows(statistics: TextStatistics): Float64Array[] {
  const { length } = statistics.tokens;
  return Array.from({ length: statistics.samples }, (_, s) =>
    statistics.sampledLogProbs.subarray(s * length, (s + 1) * length),
  );
}

/** (value - mean) / unbiased standard deviation of the samples; 0 where neither differs from the other. */
export function discrepancy(name: string, value: number, samples: readonly number[]): number {
  const center = mean(samples);
  const spread = standardDeviation(samples, 1);
  if (value === center && spread === 0) return 0;
  return defined(name, (value - center) / spread);
}
