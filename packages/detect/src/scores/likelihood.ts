import { defined, mean } from './aggregates.js';
import { tooShort } from './checks.js';
import type { TextStatistics } from './text-statistics.js';

/** Mean ln q(token). High means AI. */
export function logLikelihood(statistics: TextStatistics): number {
  return meanOf('the log-likelihood', statistics.tokens.logProb);
}

/** Mean rank of the tokens, from 1. Low means AI. */
export function rank(statistics: TextStatistics): number {
  return meanOf('the rank', statistics.tokens.rank);
}

/** Mean natural logarithm of the rank. Low means AI. */
export function logRank(statistics: TextStatistics): number {
  return meanOf('the log-rank', statistics.tokens.rank.map(Math.log));
}

/** Mean entropy of the performer's distributions. Published figures: low means AI for chat models, but weakly. */
export function entropy(statistics: TextStatistics): number {
  return meanOf('the entropy', statistics.tokens.entropy);
}

/** Log-likelihood log-rank ratio (Su et al. 2023): -logLikelihood / logRank; Infinity when every token has rank 1. High means AI. */
export function lrr(statistics: TextStatistics): number {
  const likelihood = logLikelihood(statistics);
  const ranks = logRank(statistics);
  // A model that is certain of every token: the ratio's limit is that of a text whose every token has rank 1.
  if (ranks === 0) return Infinity;
  return defined('LRR', -likelihood / ranks);
}

function meanOf(what: string, values: Float64Array): number {
  if (values.length === 0) throw tooShort(what, 1, 0);
  return mean(values);
}
