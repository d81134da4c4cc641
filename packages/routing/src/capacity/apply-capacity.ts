import {
  badConfig,
  requireIds,
  requireInteger,
  requireLength,
  requireOneOf,
  requireTokens,
} from '../operands.js';
import { planPermutation } from '../permutation/permutation.js';
import type { RandomSource } from '../random.js';

/**
 * Who stays when an expert is over its capacity:
 * `probability` the largest weights; `position` the first tokens; `choice` first choices before second ones, then the first tokens
 * (GShard, DeepSpeed, Tutel); `batchPrioritized` like `choice`, tokens with the largest best weight first (Tutel); `random` a seeded
 * draw (DeepSpeed's random token selection).
 */
export type DropPolicy = 'probability' | 'position' | 'choice' | 'batchPrioritized' | 'random';

/** Options of {@link applyCapacity}. */
export interface ApplyCapacityOptions {
  experts: number;
  topK: number;
  /** Most tokens per expert; see {@link expertCapacity}. */
  capacity: number;
  /** Default `position`. */
  policy?: DropPolicy;
  /** Needed by `random`. */
  random?: RandomSource;
}

/** A decision within capacity. */
export interface CapacityDecision {
  /** Chosen experts [T, K], -1 where dropped. */
  indices: Int32Array;
  /** Weights [T, K], 0 where dropped. */
  weights: Float32Array;
  /** Place in the expert's buffer, 0 .. capacity - 1 [T, K]; -1 where dropped. */
  positions: Int32Array;
  /** Kept assignments per expert [E]. */
  keptCounts: Int32Array;
  /** Dropped assignments per expert [E]. */
  droppedCounts: Int32Array;
  /** Dropped assignments. */
  dropped: number;
  /** Tokens that had assignments and lost all of them. */
  fullyDroppedTokens: number;
}

const POLICIES: readonly DropPolicy[] = ['probability', 'position', 'choice', 'batchPrioritized', 'random'];

/**
 * Drops the assignments that exceed the capacity of their expert. Ties go to the lowest token.
 *
 * Places in the buffers follow token order, and for `choice` and `batchPrioritized` the order of admission.
 *
 * @param decision - `indices` [T, K] with -1 = none, `weights` [T, K].
 * @param tokens - T.
 *
 * @example
 * ```ts
 * import { applyCapacity } from '@moestack/routing';
 *
 * const decision = { indices: Int32Array.of(0, 0, 1), weights: Float32Array.of(0.2, 0.9, 0.5) };
 * const kept = applyCapacity(decision, 3, { experts: 2, topK: 1, capacity: 1, policy: 'probability' });
 * console.log(kept.indices); // [-1, 0, 1]
 * ```
 */
export function applyCapacity(
  decision: { indices: Int32Array; weights: Float32Array },
  tokens: number,
  options: ApplyCapacityOptions,
): CapacityDecision {
  const { capacity, policy = 'position' } = options;
  requireTokens(tokens);
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, 1 << 20);
  requireInteger('capacity', capacity, 0, 2 ** 31 - 1);
  requireOneOf('policy', policy, POLICIES);
  const length = tokens * topK;
  requireLength('indices', decision.indices.length, length, '[tokens, topK]');
  requireLength('weights', decision.weights.length, length, '[tokens, topK]');
  requireIds('indices', decision.indices, length, experts);
  const indices = decision.indices.slice(0, length);
  const weights = decision.weights.slice(0, length);
  const positions = new Int32Array(length).fill(-1);
  if (policy === 'choice' || policy === 'batchPrioritized') {
    const order = tokenOrder(weights, tokens, topK, policy === 'batchPrioritized');
    admitByChoice(indices, positions, order, experts, topK, capacity);
  } else {
    const keys = keysOf(policy, weights, options.random);
    admitByKey(indices, positions, keys, tokens, experts, topK, capacity);
  }
  return drop(indices, weights, positions, tokens, experts, topK);
}

/**
 * The buffers of all experts as flat assignments (token * K + slot) [E, capacity], -1 in places that stay empty: the layout of
 * padding to capacity.
 */
export function padToCapacity(
  decision: { indices: Int32Array; positions: Int32Array },
  options: { experts: number; capacity: number; out?: Int32Array },
): Int32Array {
  const { indices, positions } = decision;
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const capacity = requireInteger('capacity', options.capacity, 0, Math.floor((2 ** 31 - 1) / experts));
  requireLength('positions', positions.length, indices.length, '[tokens, topK]');
  requireIds('indices', indices, indices.length, experts);
  requireIds('positions', positions, indices.length, capacity);
  const out = options.out ?? new Int32Array(experts * capacity);
  requireLength('out', out.length, experts * capacity, '[experts, capacity]');
  out.fill(-1, 0, experts * capacity);
  for (let i = 0; i < indices.length; i++) {
    if (indices[i]! >= 0 && positions[i]! >= 0) out[indices[i]! * capacity + positions[i]!] = i;
  }
  return out;
}

function keysOf(
  policy: DropPolicy,
  weights: Float32Array,
  random: RandomSource | undefined,
): ArrayLike<number> | undefined {
  if (policy === 'position') return undefined;
  if (policy === 'probability') return weights;
  if (random === undefined) {
    throw badConfig(
      'expected a random source for the policy random, got none',
      undefined,
      'pass createRandom(seed)',
    );
  }
  return Float64Array.from(weights, () => random());
}

function tokenOrder(weights: Float32Array, tokens: number, topK: number, prioritized: boolean): Int32Array {
  const order = Int32Array.from({ length: tokens }, (_, token) => token);
  if (!prioritized) return order;
  const best = new Float32Array(tokens).fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < weights.length; i++) {
    const token = Math.floor(i / topK);
    if (weights[i]! > best[token]!) best[token] = weights[i]!;
  }
  return order.sort((a, b) => best[b]! - best[a]! || a - b);
}

function admitByChoice(
  indices: Int32Array,
  positions: Int32Array,
  order: Int32Array,
  experts: number,
  topK: number,
  capacity: number,
): void {
  const used = new Int32Array(experts);
  for (let k = 0; k < topK; k++) {
    for (let rank = 0; rank < order.length; rank++) {
      const i = order[rank]! * topK + k;
      const expert = indices[i]!;
      if (expert < 0 || used[expert]! >= capacity) continue;
      positions[i] = used[expert]!;
      used[expert]! += 1;
    }
  }
}

/** Keeps the assignments with the largest keys (the first ones without keys) and numbers them in token order. */
function admitByKey(
  indices: Int32Array,
  positions: Int32Array,
  keys: ArrayLike<number> | undefined,
  tokens: number,
  experts: number,
  topK: number,
  capacity: number,
): void {
  const { offsets, sortedFlat } = planPermutation(indices, tokens, { experts, topK });
  for (let e = 0; e < experts; e++) {
    const all = sortedFlat.subarray(offsets[e], offsets[e + 1]);
    let kept = all.subarray(0, capacity);
    if (keys !== undefined && all.length > capacity) {
      kept = all
        .slice()
        .sort((a, b) => keys[b]! - keys[a]! || a - b)
        .subarray(0, capacity)
        .sort();
    }
    for (let place = 0; place < kept.length; place++) positions[kept[place]!] = place;
  }
}

function drop(
  indices: Int32Array,
  weights: Float32Array,
  positions: Int32Array,
  tokens: number,
  experts: number,
  topK: number,
): CapacityDecision {
  const keptCounts = new Int32Array(experts);
  const droppedCounts = new Int32Array(experts);
  let dropped = 0;
  let fullyDroppedTokens = 0;
  for (let token = 0, i = 0; token < tokens; token++) {
    let had = false;
    let has = false;
    for (let k = 0; k < topK; k++, i++) {
      const expert = indices[i]!;
      if (expert < 0) {
        weights[i] = 0;
        continue;
      }
      had = true;
      if (positions[i]! >= 0) {
        has = true;
        keptCounts[expert]! += 1;
      } else {
        indices[i] = -1;
        weights[i] = 0;
        droppedCounts[expert]! += 1;
        dropped++;
      }
    }
    if (had && !has) fullyDroppedTokens++;
  }
  return { indices, weights, positions, keptCounts, droppedCounts, dropped, fullyDroppedTokens };
}
