import { RoutingError } from '../errors.js';
import { requireIds, requireInteger, requireLength, requireTokens } from '../operands.js';

/** Most elements of any array that a plan allocates. */
export const MAX_ELEMENTS: number = 2 ** 31 - 1;

/**
 * Assignments sorted by expert: position j of the sorted order holds assignment `sortedFlat[j]` = token * K + slot. The sort is
 * stable, by token then slot.
 *
 * Arrays of {@link allocatePermutation} are as long as its largest batch needs; the first entries count.
 */
export interface Permutation {
  readonly experts: number;
  readonly topK: number;
  /** Largest batch that fits. */
  readonly maxTokens: number;
  /** Tokens of this batch, T. */
  tokens: number;
  /** Assignments that are not -1: the length of the sorted order. */
  assignments: number;
  /** Flat assignment at each sorted position [assignments]. */
  readonly sortedFlat: Int32Array;
  /** Its token [assignments]. */
  readonly sortedToken: Int32Array;
  /** Sorted position of each flat assignment [T * K]; -1 where there is none. */
  readonly inverse: Int32Array;
  /** Assignments per expert [E]. */
  readonly counts: Int32Array;
  /** Start of each expert in the sorted order [E + 1]. */
  readonly offsets: Int32Array;
}

/**
 * Sorts the assignments of a batch by expert, in fresh arrays.
 *
 * @param indices - chosen experts [T, K], -1 = none or dropped.
 * @param tokens - T.
 *
 * @example
 * ```ts
 * import { combineRows, permuteRows, planPermutation } from '@moestack/routing';
 *
 * const plan = planPermutation(Int32Array.of(1, 0, 0, 2), 2, { experts: 3, topK: 2 });
 * const rows = permuteRows(Float32Array.of(10, 11, 20, 21), plan, { columns: 2 });
 * console.log(rows); // token 0, token 1, token 0, token 1
 * console.log(combineRows(rows, plan, { columns: 2, weights: Float32Array.of(0.5, 0.5, 1, 0) }));
 * ```
 */
export function planPermutation(
  indices: Int32Array,
  tokens: number,
  options: { experts: number; topK: number },
): Permutation {
  requireTokens(tokens);
  // Before the allocation, so that a wild token count is a typed error.
  requireLength('indices', indices.length, tokens * options.topK, '[tokens, topK]');
  const permutation = allocatePermutation({ ...options, maxTokens: tokens });
  planPermutationInto(indices, tokens, permutation);
  return permutation;
}

/** An empty permutation with room for batches of up to `maxTokens`, for {@link planPermutationInto}. */
export function allocatePermutation(options: {
  experts: number;
  topK: number;
  maxTokens: number;
}): Permutation {
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, 1 << 20);
  const maxTokens = requireInteger('maxTokens', options.maxTokens, 0, Math.floor(MAX_ELEMENTS / topK));
  return {
    experts,
    topK,
    maxTokens,
    tokens: 0,
    assignments: 0,
    sortedFlat: new Int32Array(maxTokens * topK),
    sortedToken: new Int32Array(maxTokens * topK),
    inverse: new Int32Array(maxTokens * topK),
    counts: new Int32Array(experts),
    offsets: new Int32Array(experts + 1),
  };
}

/** {@link planPermutation} into arrays of {@link allocatePermutation}, without allocation; nothing is written on an error. */
export function planPermutationInto(indices: Int32Array, tokens: number, permutation: Permutation): void {
  const { experts, topK, sortedFlat, sortedToken, inverse, counts, offsets } = permutation;
  requireTokens(tokens);
  if (tokens > permutation.maxTokens) {
    throw new RoutingError({
      code: 'routing/bad-shape',
      message: `expected at most ${permutation.maxTokens} tokens, got ${tokens}`,
      value: tokens,
      remedy: 'allocate the permutation for the largest batch',
    });
  }
  const length = tokens * topK;
  requireLength('indices', indices.length, length, '[tokens, topK]');
  requireIds('indices', indices, length, experts);
  counts.fill(0);
  for (let i = 0; i < length; i++) {
    const expert = indices[i]!;
    if (expert >= 0) counts[expert]! += 1;
  }
  // While filling, offsets[e + 1] is the next free position of expert e; it ends as the start of expert e + 1.
  offsets[0] = 0;
  let start = 0;
  for (let e = 0; e < experts; e++) {
    offsets[e + 1] = start;
    start += counts[e]!;
  }
  for (let token = 0, i = 0; token < tokens; token++) {
    for (let k = 0; k < topK; k++, i++) {
      const expert = indices[i]!;
      if (expert < 0) {
        inverse[i] = -1;
        continue;
      }
      const at = offsets[expert + 1]!;
      offsets[expert + 1] = at + 1;
      sortedFlat[at] = i;
      sortedToken[at] = token;
      inverse[i] = at;
    }
  }
  permutation.tokens = tokens;
  permutation.assignments = start;
}
