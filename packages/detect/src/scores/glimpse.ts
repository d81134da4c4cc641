import { DetectError } from '../errors.js';
import { defined, mean } from './aggregates.js';
import { needInteger, tooShort } from './checks.js';

/** What an API gives for one token: its own log-probability and those of the K most probable tokens. */
export interface TopKToken {
  /** ln q(token). */
  readonly logProb: number;
  /** ln q of the K most probable tokens, in any order. */
  readonly topLogProbs: ArrayLike<number>;
}

/** Options of {@link glimpse}. */
export interface GlimpseOptions {
  /** How many of the top log-probabilities to use. Default: the fewest that any token has. */
  readonly topK?: number;
  /** Ranks over which the tail is spread. Default 1000. */
  readonly rankSize?: number;
  /** Size of the vocabulary, for {@link GlimpseEstimate.entropyUpper}. */
  readonly vocabulary?: number;
}

/** Estimates from the top K only; all but the log-likelihood are approximations. */
export interface GlimpseEstimate {
  /** Decay of the tail, per token: p(rank k) = p_K lambda^(k - K). */
  readonly lambda: Float64Array;
  /** Mean entropy with the geometric tail. */
  readonly entropy: number;
  /** The true mean entropy is at least this: all remaining mass on one token. */
  readonly entropyLower: number;
  /** As entropyLower, using that no remaining token is more probable than the K-th. */
  readonly entropyLowerSorted: number;
  /** The true mean entropy is at most this: the remaining mass spread evenly. NaN-free; Infinity without a vocabulary size. */
  readonly entropyUpper: number;
  /** White-box Fast-DetectGPT with the geometric tail. High means AI. */
  readonly fastDetectGpt: number;
  /** Mean rank in the estimated distribution, tokens beyond it left out; undefined if none is inside. Low means AI. */
  readonly rank: number | undefined;
  /** As `rank`, natural logarithm. */
  readonly logRank: number | undefined;
  /** Exact: mean ln q(token). */
  readonly logLikelihood: number;
}

/** Upstream's guard against ln 0; it moves the tail by up to 1e-8 / p. */
const EPSILON = 1e-8;

/**
 * Glimpse (Bao et al. 2025): white-box scores from the K most probable tokens, the tail of each distribution being geometric.
 */
export function glimpse(tokens: readonly TopKToken[], options: GlimpseOptions = {}): GlimpseEstimate {
  if (tokens.length === 0) throw tooShort('Glimpse', 1, 0);
  const available = Math.min(...tokens.map((token) => token.topLogProbs.length));
  const topK = options.topK ?? available;
  const rankSize = options.rankSize ?? 1000;
  needInteger('topK', topK, 1, Math.max(available, 1));
  needInteger('rankSize', rankSize, topK, 1 << 20);
  if (options.vocabulary !== undefined) needInteger('vocabulary', options.vocabulary, topK);
  if (available < 1) throw tooShort('Glimpse: top log-probabilities', 1, 0);

  const lambda = new Float64Array(tokens.length);
  const probabilities = new Float64Array(rankSize);
  const sums = { entropy: 0, lower: 0, sorted: 0, upper: 0, difference: 0, variance: 0, likelihood: 0 };
  const ranks: number[] = [];
  tokens.forEach((token, i) => {
    const given = topOf(token, topK, i);
    const top = atMostOne(given);
    const kept = top.reduce((sum, p) => sum + p, 0);
    const last = top[topK - 1]!;
    const rest = Math.max(1 - kept, 0);
    lambda[i] = decay(last, rest, rankSize - topK);
    spread(top, lambda[i]!, probabilities);
    let entropy = 0;
    let second = 0;
    for (let k = 0; k < rankSize; k++) {
      const p = probabilities[k]!;
      if (p === 0) continue;
      const log = Math.log(p);
      entropy -= p * log;
      second += p * log * log;
    }
    sums.entropy += entropy;
    sums.difference += token.logProb + entropy;
    sums.variance += Math.max(second - entropy * entropy, 0);
    sums.likelihood += token.logProb;
    // The bounds speak of the probabilities as given.
    const known = given.reduce((sum, p) => sum + xlogx(p), 0);
    const left = Math.max(1 - given.reduce((sum, p) => sum + p, 0), 0);
    const smallest = given[topK - 1]!;
    const others = (options.vocabulary ?? Infinity) - topK;
    const full = smallest === 0 ? 0 : Math.min(Math.floor(left / smallest), others);
    const remainder = smallest === 0 ? 0 : Math.max(left - full * smallest, 0);
    sums.lower -= known + xlogx(left);
    sums.sorted -= known + full * xlogx(smallest) + xlogx(remainder);
    sums.upper -= known + xlogx(left) - (left === 0 || others < 1 ? 0 : left * Math.log(others));
    const own = Math.exp(token.logProb);
    let rank = 0;
    while (rank < rankSize && probabilities[rank]! > own) rank++;
    if (rank < rankSize) ranks.push(rank + 1);
  });
  const n = tokens.length;
  const undecided = sums.difference === 0 && sums.variance === 0;
  return {
    lambda,
    entropy: sums.entropy / n,
    entropyLower: sums.lower / n,
    entropyLowerSorted: sums.sorted / n,
    entropyUpper: defined('Glimpse entropy bound', sums.upper / n),
    fastDetectGpt: undecided ? 0 : defined('Glimpse', sums.difference / Math.sqrt(sums.variance)),
    rank: ranks.length === 0 ? undefined : mean(ranks),
    logRank: ranks.length === 0 ? undefined : mean(ranks.map(Math.log)),
    logLikelihood: sums.likelihood / n,
  };
}

/** The K largest probabilities, descending. */
function topOf(token: TopKToken, topK: number, index: number): number[] {
  const logs = Array.from(token.topLogProbs).sort((a, b) => b - a);
  const bad = [token.logProb, ...logs].find((log) => !(log <= 1e-3));
  if (bad !== undefined) {
    throw new DetectError({
      code: 'detect/not-finite',
      message: `expected log-probabilities of at most 0, got ${bad} at token ${index}`,
      value: String(bad),
      remedy: 'pass natural logarithms of probabilities',
    });
  }
  return logs.slice(0, topK).map(Math.exp);
}

/** Brought below a sum of 1 as the published program does. */
function atMostOne(top: number[]): number[] {
  const sum = top.reduce((total, p) => total + p, 0);
  return sum > 1 ? top.map((p) => p / (sum + 1e-6)) : top;
}

/**
 * lambda with sum over the tail of p_K lambda^j = rest: the closed form for an endless tail, then, if the tail is too slow to
 * end within the ranks, the published fixed-point iteration (stopped when it no longer converges).
 */
function decay(last: number, rest: number, tail: number): number {
  if (rest === 0) return 0;
  let lambda = rest / (last + rest);
  if (lambda ** (tail + 1) <= 1e-6) return lambda;
  for (let before = 1; ; ) {
    const old = lambda;
    lambda = 1 - ((lambda - lambda ** (tail + 1)) * last) / rest;
    const change = Math.abs(lambda - old);
    if (!(lambda >= 0) || change < 1e-6 || change >= before) return old;
    before = change;
  }
}

function spread(top: readonly number[], lambda: number, out: Float64Array): void {
  const last = Math.log(top[top.length - 1]! + EPSILON);
  const step = Math.log(lambda + EPSILON);
  let sum = 0;
  for (let k = 0; k < out.length; k++) {
    const p = k < top.length ? top[k]! : Math.exp(last + (k - top.length + 1) * step);
    out[k] = p;
    sum += p;
  }
  for (let k = 0; k < out.length; k++) out[k] = out[k]! / sum;
}

function xlogx(p: number): number {
  return p > 0 ? p * Math.log(p) : 0;
}
