import { exp64 as exp } from '@moestack/kernels';
import { requireExactLength, requireFinite, requireInteger, requireNumber } from '../operands.js';
import {
  type Affinities,
  type AffinityLossOptions,
  addAffinities,
  addGradient,
  counts,
  openAffinities,
} from './affinities.js';
import { normalCdf, normalDensity } from './normal.js';

/** Added to the squared mean, as in the original of the importance loss: visible in the 11th digit. */
const MEAN_FLOOR = 1e-10;

/**
 * Router z-loss (ST-MoE): coefficient * mean over tokens of logsumexp(logits)^2.
 *
 * @param logits - router logits [T, E].
 * @param options - `coefficient` defaults to 1e-3; `scoring` has no effect.
 */
export function zLoss(logits: Float32Array | Float64Array, options: AffinityLossOptions): { value: number } {
  const open = openAffinities(logits, options, { scoring: 'softmax', normalize: true });
  const { tokens, experts, single, row } = open;
  let counted = 0;
  for (let token = 0; token < tokens; token++) if (counts(open, token)) counted++;
  if (counted === 0) return { value: 0 };
  const coefficient = options.coefficient ?? 1e-3;
  const grad = options.gradLogits;
  let total = 0;
  for (let token = 0; token < tokens; token++) {
    if (!counts(open, token)) continue;
    const base = token * experts;
    let max = logits[base]!;
    for (let e = 1; e < experts; e++) if (logits[base + e]! > max) max = logits[base + e]!;
    let sum = 0;
    for (let e = 0; e < experts; e++) {
      row[e] = exp(logits[base + e]! - max);
      sum += row[e]!;
    }
    const logSum = single ? Math.fround(max + Math.log(sum)) : max + Math.log(sum);
    total += logSum * logSum;
    if (grad === undefined) continue;
    const factor = (2 * coefficient * logSum) / (counted * sum);
    for (let e = 0; e < experts; e++) grad[base + e]! += factor * row[e]!;
  }
  const value = (coefficient * total) / counted;
  return { value: single ? Math.fround(value) : value };
}

/**
 * Importance loss (Shazeer et al. 2017): coefficient * CV^2 of the summed affinities of the experts, variance unbiased.
 *
 * @param logits - router logits [T, E].
 * @param options - `coefficient` defaults to 1, `scoring` to `softmax`.
 */
export function importanceLoss(
  logits: Float32Array | Float64Array,
  options: AffinityLossOptions,
): { value: number; importance: Float64Array } {
  const open = openAffinities(logits, options, { scoring: 'softmax', normalize: true });
  requireInteger('experts', open.experts, 2, 1 << 20);
  const importance = new Float64Array(open.experts);
  addAffinities(open, 0, open.tokens, importance);
  const coefficient = options.coefficient ?? 1;
  const weights = new Float64Array(open.experts);
  const value = coefficient * squaredVariation(importance, coefficient, weights);
  if (options.gradLogits !== undefined) addGradient(open, 0, open.tokens, weights, 0, options.gradLogits);
  return { value: open.single ? Math.fround(value) : value, importance };
}

/** Options of {@link loadLoss}. */
export interface LoadLossOptions extends AffinityLossOptions {
  /** Chosen experts per token, K. */
  topK: number;
  /** Standard deviation of the noise that was added to the logits before the selection. */
  noiseDeviation: number;
  /** Logits with that noise [T, E]; the K-th largest of each token is the threshold. Default: the logits. */
  noisyLogits?: Float32Array | Float64Array;
}

/**
 * Smooth load loss of noisy top-k gates: coefficient * CV^2 of Load_i = sum_t Phi((x_ti - threshold_t) / deviation), where the
 * threshold is the token's K-th largest noisy logit, a constant for the gradient.
 *
 * @param logits - router logits without noise [T, E].
 * @param options - `coefficient` defaults to 1; `scoring` has no effect.
 */
export function loadLoss(
  logits: Float32Array | Float64Array,
  options: LoadLossOptions,
): { value: number; load: Float64Array } {
  const open = openAffinities(logits, options, { scoring: 'softmax', normalize: true });
  const { tokens, experts } = open;
  requireInteger('experts', experts, 2, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, experts);
  const deviation = requireNumber('noiseDeviation', options.noiseDeviation, Number.MIN_VALUE);
  const noisy = options.noisyLogits ?? logits;
  requireExactLength('noisyLogits', noisy.length, logits.length, '[tokens, experts]');
  requireFinite('noisyLogits', noisy, noisy.length);
  const thresholds = kthLargest(noisy, open, topK);
  const load = new Float64Array(experts);
  for (let token = 0; token < tokens; token++) {
    if (!counts(open, token)) continue;
    for (let e = 0; e < experts; e++) {
      load[e]! += normalCdf((logits[token * experts + e]! - thresholds[token]!) / deviation);
    }
  }
  const coefficient = options.coefficient ?? 1;
  const weights = new Float64Array(experts);
  const value = coefficient * squaredVariation(load, coefficient, weights);
  const grad = options.gradLogits;
  if (grad !== undefined) {
    for (let token = 0; token < tokens; token++) {
      if (!counts(open, token)) continue;
      for (let i = token * experts, e = 0; e < experts; e++, i++) {
        grad[i]! += (weights[e]! * normalDensity((logits[i]! - thresholds[token]!) / deviation)) / deviation;
      }
    }
  }
  return { value: open.single ? Math.fround(value) : value, load };
}

/** CV^2 with unbiased variance; writes `coefficient` times its derivatives. */
function squaredVariation(sums: Float64Array, coefficient: number, derivatives: Float64Array): number {
  const n = sums.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += sums[i]!;
  mean /= n;
  let squares = 0;
  for (let i = 0; i < n; i++) squares += (sums[i]! - mean) ** 2;
  const divisor = mean * mean + MEAN_FLOOR;
  const value = squares / (n - 1) / divisor;
  for (let i = 0; i < n; i++) {
    const slope = (2 * (sums[i]! - mean)) / (n - 1) - (2 * value * mean) / n;
    derivatives[i] = (coefficient * slope) / divisor;
  }
  return value;
}

function kthLargest(
  logits: Float32Array | Float64Array,
  { tokens, experts, row }: Affinities,
  topK: number,
): Float64Array {
  const thresholds = new Float64Array(tokens);
  for (let token = 0; token < tokens; token++) {
    row.set(logits.subarray(token * experts, (token + 1) * experts));
    row.sort();
    thresholds[token] = row[experts - topK]!;
  }
  return thresholds;
}
