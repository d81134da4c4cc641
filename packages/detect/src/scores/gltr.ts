import { mean } from './aggregates.js';
import { tooShort } from './checks.js';
import type { TextStatistics } from './text-statistics.js';

/** What GLTR shows for a text (Gehrmann et al. 2019, arXiv 1906.04043). */
export interface GltrStatistics {
  /** Tokens with 0-based rank below 10, 100, 1000, and the rest: the green, yellow, red and violet ones. */
  readonly counts: readonly [number, number, number, number];
  /** Share of tokens with 0-based rank at most 10 (eleven ranks): RAID's GLTR score. High means AI. */
  readonly topShare: number;
  /** p(token) / p(best token), per token. */
  readonly relativeProbability: Float64Array;
  /** -sum p ln p over the 10 best tokens, not renormalised, per token; empty unless {@link TextScorerOptions.top} was 10. */
  readonly topEntropy: Float64Array;
}

/** GLTR's statistics. GLTR itself puts a start token in front, so that the first token is scored too. */
export function gltr(statistics: TextStatistics): GltrStatistics {
  const { length, logProb, bestLogProb, rank, topEntropy } = statistics.tokens;
  if (length === 0) throw tooShort('GLTR', 1, 0);
  return {
    ...gltrCounts(rank),
    relativeProbability: logProb.map((value, i) => Math.exp(value - bestLogProb[i]!)),
    topEntropy,
  };
}

/** Counts and share of {@link GltrStatistics} from ranks (from 1) alone. */
export function gltrCounts(ranks: ArrayLike<number>): Pick<GltrStatistics, 'counts' | 'topShare'> {
  if (ranks.length === 0) throw tooShort('GLTR', 1, 0);
  const counts: [number, number, number, number] = [0, 0, 0, 0];
  for (let i = 0; i < ranks.length; i++) {
    const rank = ranks[i]! - 1;
    counts[rank < 10 ? 0 : rank < 100 ? 1 : rank < 1000 ? 2 : 3]++;
  }
  const topShare = mean(Array.from(ranks, (rank) => (rank - 1 <= 10 ? 1 : 0)));
  return { counts, topShare };
}
