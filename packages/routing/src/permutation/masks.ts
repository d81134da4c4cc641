import { RoutingError } from '../errors.js';
import { requireIds, requireInteger, requireLength, requireTokens } from '../operands.js';

/** Chosen experts as a matrix. */
export interface RoutingMask {
  /** 1 where the token goes to the expert [T, E]. */
  mask: Uint8Array;
  /** The weight there, 0 elsewhere [T, E]. */
  probabilities: Float32Array;
}

/**
 * Turns chosen experts into the matrix form that Megatron-style code uses.
 *
 * @param indices - chosen experts [T, K], -1 = none.
 * @param tokens - T.
 */
export function maskFromIndices(
  indices: Int32Array,
  tokens: number,
  options: { experts: number; topK: number; weights?: Float32Array },
): RoutingMask {
  const { experts, topK, weights } = options;
  requireTokens(tokens);
  requireInteger('experts', experts, 1, 1 << 20);
  requireInteger('topK', topK, 1, 1 << 20);
  requireLength('indices', indices.length, tokens * topK, '[tokens, topK]');
  requireIds('indices', indices, tokens * topK, experts);
  if (weights !== undefined) requireLength('weights', weights.length, tokens * topK, '[tokens, topK]');
  const mask = new Uint8Array(tokens * experts);
  const probabilities = new Float32Array(tokens * experts);
  for (let i = 0; i < tokens * topK; i++) {
    if (indices[i]! < 0) continue;
    const at = Math.floor(i / topK) * experts + indices[i]!;
    mask[at] = 1;
    probabilities[at] = weights === undefined ? 1 : weights[i]!;
  }
  return { mask, probabilities };
}

/**
 * Turns a matrix of marks into chosen experts, ascending by expert and padded with -1 (weight 0); with
 * {@link planPermutation} the tokens are then in the order that sorting the matrix by columns gives.
 *
 * @param mask - not 0 where the token goes to the expert [T, E].
 * @param tokens - T.
 * @param options - `topK`: most marks of a token (more are an error).
 */
export function indicesFromMask(
  mask: Uint8Array,
  tokens: number,
  options: { experts: number; topK: number; probabilities?: Float32Array },
): { indices: Int32Array; weights: Float32Array } {
  const { experts, topK, probabilities } = options;
  requireTokens(tokens);
  requireInteger('experts', experts, 1, 1 << 20);
  requireInteger('topK', topK, 1, experts);
  requireLength('mask', mask.length, tokens * experts, '[tokens, experts]');
  if (probabilities !== undefined) {
    requireLength('probabilities', probabilities.length, tokens * experts, '[tokens, experts]');
  }
  const indices = new Int32Array(tokens * topK).fill(-1);
  const weights = new Float32Array(tokens * topK);
  for (let token = 0, at = 0; token < tokens; token++) {
    let k = 0;
    for (let e = 0; e < experts; e++, at++) {
      if (mask[at] === 0) continue;
      if (k === topK) {
        throw new RoutingError({
          code: 'routing/bad-shape',
          message: `expected at most ${topK} marks per token in mask, got more for token ${token}`,
          value: token,
          remedy: 'pass the largest number of experts per token as topK',
        });
      }
      indices[token * topK + k] = e;
      weights[token * topK + k] = probabilities === undefined ? 1 : probabilities[at]!;
      k++;
    }
  }
  return { indices, weights };
}
