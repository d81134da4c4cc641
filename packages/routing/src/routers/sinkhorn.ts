import { exp64 as exp } from '@moestack/kernels';
import { RoutingError } from '../errors.js';
import { openAffinities } from '../losses/affinities.js';
import { requireInteger, requireNumber } from '../operands.js';
import { createRouter } from '../router.js';
import { selectTop } from '../select.js';
import type { RoutingDecision } from '../types.js';

/** Options of {@link sinkhorn}. */
export interface SinkhornOptions {
  /** Routed experts, E. */
  experts: number;
  /**
   * Iterate until the expert factors move less than this on average. Default 1e-4. The floor that keeps divisions finite lets the factors drift
   * by about 1e-8 for ever, so much smaller tolerances are never met.
   */
  tolerance?: number;
  /** Give up (`routing/no-convergence`) after so many iterations. Default 1000. */
  maxIterations?: number;
}

/** A matrix whose rows sum to 1/T and whose columns sum to 1/E. */
export interface SinkhornResult {
  /** [T, E]. */
  matrix: Float64Array;
  iterations: number;
}

/** Keeps division by an empty row or column finite, as in the published code. */
const FLOOR = 1e-8;
/** exp of more could overflow in a sum; such logits are shifted by their maximum, which the result does not depend on. */
const SHIFT_ABOVE = 500;

/**
 * Scales exp(logits) by a factor per token and one per expert until all tokens have the same mass and all experts too.
 *
 * @param logits - router logits [T, E].
 */
export function sinkhorn(logits: Float32Array | Float64Array, options: SinkhornOptions): SinkhornResult {
  const { tokens, experts } = openAffinities(
    logits,
    { experts: options.experts },
    { scoring: 'softmax', normalize: true },
  );
  const tolerance = requireNumber('tolerance', options.tolerance ?? 1e-4, 0);
  const maxIterations = requireInteger('maxIterations', options.maxIterations ?? 1000, 1, 1e9);
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  const shift = max > SHIFT_ABOVE ? max : 0;
  const matrix = Float64Array.from(logits, (logit) => exp(logit - shift));
  const rows = new Float64Array(tokens).fill(1);
  const columns = new Float64Array(experts).fill(1);
  const sums = new Float64Array(experts);
  for (let iteration = 1; iteration <= maxIterations; iteration++) {
    sums.fill(0);
    for (let token = 0, i = 0; token < tokens; token++, i += experts) {
      let sum = 0;
      for (let e = 0; e < experts; e++) sum += columns[e]! * matrix[i + e]!;
      const factor = 1 / tokens / (sum + FLOOR);
      rows[token] = factor;
      for (let e = 0; e < experts; e++) sums[e]! += factor * matrix[i + e]!;
    }
    let moved = 0;
    for (let e = 0; e < experts; e++) {
      const factor = 1 / experts / (sums[e]! + FLOOR);
      moved += Math.abs(columns[e]! - factor);
      columns[e] = factor;
    }
    if (moved / experts > tolerance) continue;
    for (let token = 0, i = 0; token < tokens; token++, i += experts) {
      for (let e = 0; e < experts; e++) matrix[i + e]! *= columns[e]! * rows[token]!;
    }
    return { matrix, iterations: iteration };
  }
  throw new RoutingError({
    code: 'routing/no-convergence',
    message: `expected the factors to settle within ${tolerance} in ${maxIterations} iterations`,
    value: maxIterations,
    remedy: 'allow more iterations or a larger tolerance, or scale the logits down',
  });
}

/**
 * Routes by the Sinkhorn matrix: the top K of each row (ties to the lowest expert), weighted as in Megatron by the plain scores: sigmoid
 * for K = 1, softmax otherwise.
 *
 * @param logits - router logits [T, E].
 */
export function routeBySinkhorn(
  logits: Float32Array,
  options: SinkhornOptions & { topK: number },
): RoutingDecision {
  const { experts, topK } = options;
  const router = createRouter({
    experts,
    topK,
    scoring: topK === 1 ? 'sigmoid' : 'softmax',
    normalize: false,
  });
  const { matrix } = sinkhorn(logits, options);
  const tokens = logits.length / experts;
  const indices = new Int32Array(tokens * topK);
  const counts = new Int32Array(experts);
  const best = new Float64Array(topK);
  for (let token = 0; token < tokens; token++) {
    const row = matrix.subarray(token * experts, (token + 1) * experts);
    selectTop(row, 0, experts, best, indices, token * topK, topK, 0);
  }
  for (let i = 0; i < indices.length; i++) counts[indices[i]!]! += 1;
  return { indices, weights: router.weigh(logits, indices), counts };
}
