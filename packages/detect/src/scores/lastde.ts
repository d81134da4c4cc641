import { defined, mean, standardDeviation } from './aggregates.js';
import { needBetween, needInteger, tooShort } from './checks.js';
import { discrepancy, sampledRows } from './fast-detect-gpt.js';
import type { TextStatistics } from './text-statistics.js';

/** Options of {@link lastde}. Defaults are those for open models. */
export interface LastdeOptions {
  /** Length of an orbit. Default 3 (4 in Lastde++). */
  readonly embed?: number;
  /** Histogram bins per token: bins = floor(binsPerToken * tokens). Default 10; 1 for closed models; 8 in Lastde++. */
  readonly binsPerToken?: number;
  /** Scales 1 to this. Default 5; 15 for closed models; 4 in Lastde++. */
  readonly scales?: number;
}

/** The published settings for scores from closed models. */
export const LASTDE_CLOSED: LastdeOptions = { embed: 3, binsPerToken: 1, scales: 15 };
const OPEN = { embed: 3, binsPerToken: 10, scales: 5 };
const DOUBLE_PLUS = { embed: 4, binsPerToken: 8, scales: 4 };

/**
 * Lastde (Xu et al. 2024, arXiv 2410.06072): mean ln q(token) over the standard deviation of its diversity entropy at
 * several scales. High means AI.
 *
 * @throws DetectError with code `detect/too-short` below scales + embed scored tokens
 */
export function lastde(statistics: TextStatistics, options: LastdeOptions = {}): number {
  return lastdeOf(statistics.tokens.logProb, { ...OPEN, ...options });
}

/** Lastde++: Lastde compared with that of sampled tokens. Needs {@link TextScorerOptions.sampling}. */
export function lastdePlusPlus(statistics: TextStatistics, options: LastdeOptions = {}): number {
  const settings = { ...DOUBLE_PLUS, ...options };
  if (statistics.samples < 2) throw tooShort('Lastde++', 1, 0);
  const value = lastdeOf(statistics.tokens.logProb, settings);
  const samples = sampledRows(statistics).map((row) => lastdeOf(row, settings));
  return discrepancy('Lastde++', value, samples);
}

/** Diversity entropy of a series at each scale 1 to `scales`. */
export function diversityEntropies(series: Float64Array, options: LastdeOptions = {}): Float64Array {
  const { embed, binsPerToken, scales } = { ...OPEN, ...options };
  needInteger('embed', embed, 2, 1024);
  needInteger('scales', scales, 2, 1024);
  needBetween('binsPerToken', binsPerToken, 0, 1e6);
  if (series.length < scales + embed) throw tooShort('Lastde', scales + embed, series.length);
  const bins = Math.max(Math.floor(binsPerToken * series.length), 2);
  const histogram = new Float64Array(bins);
  return Float64Array.from({ length: scales }, (_, i) =>
    diversityEntropy(movingAverage(series, i + 1), embed, histogram),
  );
}

function lastdeOf(series: Float64Array, options: Required<LastdeOptions>): number {
  const center = mean(series);
  const spread = standardDeviation(diversityEntropies(series, options), 1);
  // A token of probability 0 leaves no orbits to compare.
  return defined('Lastde', Number.isFinite(center) ? center / spread : Number.NaN);
}

function movingAverage(series: Float64Array, window: number): Float64Array {
  const out = new Float64Array(series.length - window + 1);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let j = 0; j < window; j++) sum += series[i + j]!;
    out[i] = sum / window;
  }
  return out;
}

/** Entropy of the cosine similarities of neighbouring orbits, in units of the logarithm of the number of bins. */
function diversityEntropy(series: Float64Array, embed: number, histogram: Float64Array): number {
  const bins = histogram.length;
  histogram.fill(0);
  const count = series.length - embed;
  for (let i = 0; i < count; i++) {
    // Rounding may leave [-1, 1] by a little: clamped, where torch.histc would drop the value.
    const cosine = Math.min(Math.max(Math.fround(orbitCosine(series, i, embed)), -1), 1);
    const bin = Math.min(Math.floor((Math.fround(cosine + 1) * bins) / 2), bins - 1);
    histogram[bin] = histogram[bin]! + 1;
  }
  let sum = 0;
  for (let b = 0; b < bins; b++) {
    const p = histogram[b]! / count;
    if (p > 0) sum -= p * Math.log(p);
  }
  return sum / Math.log(bins);
}

/** Cosine of the orbits that start at i and i + 1; 0 where one of them is all zero. */
function orbitCosine(series: Float64Array, i: number, embed: number): number {
  let dot = 0;
  let a = 0;
  let b = 0;
  for (let j = 0; j < embed; j++) {
    const x = series[i + j]!;
    const y = series[i + j + 1]!;
    dot += x * y;
    a += x * x;
    b += y * y;
  }
  const norm = Math.sqrt(a) * Math.sqrt(b);
  return norm === 0 ? 0 : dot / norm;
}
