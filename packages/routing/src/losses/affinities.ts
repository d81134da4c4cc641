import { exp64 as exp } from '@moestack/kernels';
import {
  requireExactLength,
  requireFinite,
  requireInteger,
  requireLength,
  requireNumber,
  requireOneOf,
} from '../operands.js';
import type { Scoring } from '../types.js';

/** What every loss over router logits takes. */
export interface AffinityLossOptions {
  /** Routed experts, E: the columns of the logits. */
  experts: number;
  /** Factor on the loss and its gradient. */
  coefficient?: number;
  /** How logits become affinities. */
  scoring?: Scoring;
  /** Whether affinities are divided by their sum over the experts (softmax ones sum to 1 anyway). */
  normalizeAffinities?: boolean;
  /**
   * `f64` keeps float64 throughout; `f32` rounds affinities, fractions and the value to float32 (sums stay float64).
   * Default: as the logits.
   */
  precision?: 'f64' | 'f32';
  /** 0 for tokens that do not count (padding) [T]. */
  mask?: Uint8Array;
  /** Receives d loss / d logits [T, E], added to what it holds. Selections and counts are constants. */
  gradLogits?: Float32Array | Float64Array;
}

/** Logits with the rule that turns them into affinities. */
export interface Affinities {
  readonly logits: Float32Array | Float64Array;
  readonly tokens: number;
  readonly experts: number;
  readonly scoring: Scoring;
  readonly normalize: boolean;
  readonly single: boolean;
  readonly mask: Uint8Array | undefined;
  /** One row of affinities [E]. */
  readonly row: Float64Array;
  /** Derivatives of the raw scores of that row [E]; softmax has no use for them. */
  readonly slopes: Float64Array;
}

/** Keeps 0/0 away when every score underflowed; invisible next to any other sum. */
const SUM_FLOOR = 1e-20;
const SOFTPLUS_LINEAR_ABOVE = 20;
const SCORINGS: readonly Scoring[] = ['sigmoid', 'softmax', 'sqrtSoftplus'];

/** Checks the operands of a loss. */
export function openAffinities(
  logits: Float32Array | Float64Array,
  options: AffinityLossOptions,
  defaults: { scoring: Scoring; normalize: boolean },
): Affinities {
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const tokens = Math.floor(logits.length / experts);
  requireExactLength('logits', logits.length, tokens * experts, '[tokens, experts]');
  requireFinite('logits', logits, logits.length);
  const scoring = options.scoring ?? defaults.scoring;
  requireOneOf('scoring', scoring, SCORINGS);
  if (options.coefficient !== undefined) requireNumber('coefficient', options.coefficient);
  if (options.precision !== undefined) requireOneOf('precision', options.precision, ['f64', 'f32']);
  if (options.mask !== undefined) requireLength('mask', options.mask.length, tokens, '[tokens]');
  if (options.gradLogits !== undefined) {
    requireExactLength('gradLogits', options.gradLogits.length, logits.length, '[tokens, experts]');
  }
  return {
    logits,
    tokens,
    experts,
    scoring,
    normalize: options.normalizeAffinities ?? defaults.normalize,
    single: (options.precision ?? (logits instanceof Float64Array ? 'f64' : 'f32')) === 'f32',
    mask: options.mask,
    row: new Float64Array(experts),
    slopes: new Float64Array(experts),
  };
}

/** Whether a token counts. */
export function counts(affinities: Affinities, token: number): boolean {
  return affinities.mask === undefined || affinities.mask[token] !== 0;
}

/** Fills `row` with the affinities of one token and returns what they were divided by. */
export function fillRow(affinities: Affinities, token: number): number {
  const { experts, row } = affinities;
  const base = token * experts;
  const divisor =
    affinities.scoring === 'softmax' ? softmaxRow(affinities, base) : elementwiseRow(affinities, base);
  if (divisor !== 1) for (let e = 0; e < experts; e++) row[e] = row[e]! / divisor;
  if (affinities.single) for (let e = 0; e < experts; e++) row[e] = Math.fround(row[e]!);
  return divisor;
}

function softmaxRow({ logits, experts, row }: Affinities, base: number): number {
  let max = logits[base]!;
  for (let e = 1; e < experts; e++) if (logits[base + e]! > max) max = logits[base + e]!;
  let sum = 0;
  for (let e = 0; e < experts; e++) {
    const power = exp(logits[base + e]! - max);
    row[e] = power;
    sum += power;
  }
  return sum;
}

function elementwiseRow(affinities: Affinities, base: number): number {
  const { logits, experts, row, slopes } = affinities;
  let sum = SUM_FLOOR;
  for (let e = 0; e < experts; e++) {
    const x = logits[base + e]!;
    // sigmoid and its slope from e^-|x|, so that neither loses digits at either end.
    const q = exp(-Math.abs(x));
    const sigmoid = x >= 0 ? 1 / (1 + q) : q / (1 + q);
    if (affinities.scoring === 'sigmoid') {
      row[e] = sigmoid;
      slopes[e] = q / ((1 + q) * (1 + q));
    } else {
      const linear = x > SOFTPLUS_LINEAR_ABOVE;
      const root = Math.sqrt(linear ? x : x > 0 ? x + Math.log1p(q) : Math.log1p(q));
      row[e] = root;
      slopes[e] = root === 0 ? 0 : (linear ? 1 : sigmoid) / (2 * root);
    }
    sum += row[e]!;
  }
  return affinities.normalize ? sum : 1;
}

/** Adds the affinities of tokens `begin .. end` to `sums` [E] and returns how many tokens counted. */
export function addAffinities(
  affinities: Affinities,
  begin: number,
  end: number,
  sums: Float64Array,
  offset: number = 0,
): number {
  const { experts, row } = affinities;
  let tokens = 0;
  for (let token = begin; token < end; token++) {
    if (!counts(affinities, token)) continue;
    tokens++;
    fillRow(affinities, token);
    for (let e = 0; e < experts; e++) sums[offset + e]! += row[e]!;
  }
  return tokens;
}

/**
 * Adds d loss / d logits of tokens `begin .. end` to `grad`, for a loss whose derivative by every token's affinity to
 * expert e is `weights[offset + e]`.
 */
export function addGradient(
  affinities: Affinities,
  begin: number,
  end: number,
  weights: Float64Array,
  offset: number,
  grad: Float32Array | Float64Array,
): void {
  const { experts, row, slopes, scoring, normalize } = affinities;
  for (let token = begin; token < end; token++) {
    if (!counts(affinities, token)) continue;
    const divisor = fillRow(affinities, token);
    let mean = 0;
    if (scoring === 'softmax' || normalize) {
      for (let e = 0; e < experts; e++) mean += weights[offset + e]! * row[e]!;
    }
    const base = token * experts;
    if (scoring === 'softmax') {
      for (let e = 0; e < experts; e++) grad[base + e]! += row[e]! * (weights[offset + e]! - mean);
    } else {
      for (let e = 0; e < experts; e++) {
        grad[base + e]! += ((weights[offset + e]! - mean) / divisor) * slopes[e]!;
      }
    }
  }
}
