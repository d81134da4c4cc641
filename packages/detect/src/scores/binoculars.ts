import { defined, mean, median } from './aggregates.js';
import { roundBfloat16 } from './bfloat16.js';
import { tooShort } from './checks.js';
import type { TextStatistics } from './text-statistics.js';

/** Options of {@link binoculars}. */
export interface BinocularsOptions {
  /** `median` as the published code offers it. Default `mean`. */
  readonly aggregate?: 'mean' | 'median';
  /**
   * Positions of the cross-perplexity. `published` (default): every position whose token is not the pad token, the last one
   * included, as the reference code does; `aligned`: exactly the positions that predict a counted label.
   */
  readonly positions?: 'published' | 'aligned';
}

/** Parts of a Binoculars score; both are logarithms, as in the reference code. */
export interface BinocularsScore {
  /** Mean -ln q(token) of the performer. */
  readonly perplexity: number;
  /** Mean cross-entropy of the performer under the observer. */
  readonly crossPerplexity: number;
  /** perplexity / crossPerplexity; low means AI. */
  readonly score: number;
}

/**
 * Binoculars (Hans et al. 2024, arXiv 2401.12070): log-perplexity over cross-log-perplexity.
 *
 * With `precision: 'bf16'` the means are rounded as in a bfloat16 run: the sum, then the quotient.
 *
 * @throws DetectError with code `detect/too-short` when no label or no position counts
 */
export function binoculars(statistics: TextStatistics, options: BinocularsOptions = {}): BinocularsScore {
  const losses = statistics.labelLosses;
  const cross =
    options.positions === 'aligned' ? statistics.alignedCrossEntropies : statistics.crossEntropies;
  if (losses.length === 0 || cross.length === 0) throw tooShort('Binoculars', 1, 0);
  const rounded = statistics.precision === 'bf16';
  const aggregate = options.aggregate === 'median' ? median : rounded ? roundedMean : mean;
  const perplexity = aggregate(losses);
  const crossPerplexity = aggregate(cross);
  const score = defined('Binoculars', ratio(perplexity, crossPerplexity));
  return { perplexity, crossPerplexity, score: rounded ? Math.fround(score) : score };
}

/** 0/0 is what two models that are both certain of every token give: the text is exactly as surprising as expected. */
function ratio(perplexity: number, crossPerplexity: number): number {
  return perplexity === crossPerplexity && Number.isFinite(perplexity) ? 1 : perplexity / crossPerplexity;
}

function roundedMean(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return roundBfloat16(roundBfloat16(sum) / values.length);
}
