import { requireIds, requireLength } from '../operands.js';
import { selectTop } from '../select.js';
import { type Affinities, counts as isCounted } from './affinities.js';

/**
 * Sums an array elementwise over all data-parallel ranks (and micro-batches), in place: an all-reduce. It must not
 * depend on the length of the array.
 */
export type CountReducer = (values: Float64Array) => void;

/** Chosen experts [T, K], or `'plain'` for the top K of the logits without bias and groups. */
export type Selection = Int32Array | 'plain';

/** The chosen experts of a loss, checked. */
export function openSelection(selection: Selection, affinities: Affinities, topK: number): Int32Array {
  const { tokens, experts } = affinities;
  if (selection === 'plain') return plainTopK(affinities, topK);
  requireLength('indices', selection.length, tokens * topK, '[tokens, topK]');
  requireIds('indices', selection, tokens * topK, experts);
  return selection;
}

/** Adds the selections of tokens `begin .. end` to `into` [E]; only the first `choices` of each token's K count. */
export function addCounts(
  indices: Int32Array,
  topK: number,
  choices: number,
  affinities: Affinities,
  begin: number,
  end: number,
  into: Float64Array,
): void {
  for (let token = begin; token < end; token++) {
    if (!isCounted(affinities, token)) continue;
    for (let k = 0; k < choices; k++) {
      const expert = indices[token * topK + k]!;
      if (expert >= 0) into[expert]! += 1;
    }
  }
}

/** All three scorers are monotonic, so the order of the logits is the order of the scores. */
function plainTopK({ logits, tokens, experts }: Affinities, topK: number): Int32Array {
  const indices = new Int32Array(tokens * topK);
  const best = new Float64Array(topK);
  const row = new Float64Array(experts);
  for (let token = 0; token < tokens; token++) {
    row.set(logits.subarray(token * experts, (token + 1) * experts));
    selectTop(row, 0, experts, best, indices, token * topK, topK, 0);
  }
  return indices;
}
