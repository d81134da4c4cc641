import { requireInteger, requireLength, requireNumber, requireTokens } from '../operands.js';
import type { RoutingDecision } from '../types.js';

/**
 * Appends shared experts to a decision as extra ids E, E+1, ..., so that one fused kernel computes routed and shared experts.
 * Masked tokens (all ids -1) get none.
 *
 * @param decision - of a router with K experts per token.
 * @param tokens - T.
 * @param options - `weight` of each shared expert, default 1: weights of {@link createRouter} include the scaling factor already.
 * @returns indices and weights [T, K + shared], counts [E + shared]
 */
export function appendSharedExperts(
  decision: RoutingDecision,
  tokens: number,
  options: { experts: number; topK: number; shared: number; weight?: number },
): RoutingDecision {
  requireTokens(tokens);
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, experts);
  const shared = requireInteger('shared', options.shared, 1, 1 << 10);
  const weight = requireNumber('weight', options.weight ?? 1);
  requireLength('indices', decision.indices.length, tokens * topK, '[tokens, topK]');
  requireLength('weights', decision.weights.length, tokens * topK, '[tokens, topK]');
  requireLength('counts', decision.counts.length, experts, '[experts]');
  const width = topK + shared;
  const indices = new Int32Array(tokens * width).fill(-1);
  const weights = new Float32Array(tokens * width);
  const counts = new Int32Array(experts + shared);
  counts.set(decision.counts.subarray(0, experts));
  for (let token = 0; token < tokens; token++) {
    let routed = false;
    for (let k = 0; k < topK; k++) {
      indices[token * width + k] = decision.indices[token * topK + k]!;
      weights[token * width + k] = decision.weights[token * topK + k]!;
      if (decision.indices[token * topK + k]! >= 0) routed = true;
    }
    for (let s = 0; s < shared && routed; s++) {
      indices[token * width + topK + s] = experts + s;
      weights[token * width + topK + s] = weight;
      counts[experts + s]! += 1;
    }
  }
  return { indices, weights, counts, ...(decision.groups === undefined ? {} : { groups: decision.groups }) };
}
