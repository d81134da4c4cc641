import { type AffinityLossOptions, counts, fillRow, openAffinities } from '../losses/affinities.js';
import { requireInteger } from '../operands.js';
import { selectTop } from '../select.js';

/** Options of {@link routeByExpertChoice}. */
export interface ExpertChoiceOptions
  extends Pick<AffinityLossOptions, 'experts' | 'scoring' | 'mask' | 'precision'> {
  /** Tokens that every expert takes, C; see {@link expertCapacity}. */
  capacity: number;
}

/** What the experts chose. */
export interface ExpertChoice {
  /** Tokens of each expert [E, C], best first; -1 where there are fewer tokens. */
  tokens: Int32Array;
  /** Their scores [E, C]; 0 where there is no token. */
  weights: Float32Array;
  /** Experts per token [T]. */
  expertsPerToken: Int32Array;
}

/**
 * Expert choice routing (arXiv 2202.09368): every expert takes the C tokens with the largest score for it, so loads are equal and
 * tokens get different numbers of experts. Ties go to the lowest token.
 *
 * @param logits - router logits [T, E].
 * @param options - `scoring` defaults to softmax over the experts.
 */
export function routeByExpertChoice(
  logits: Float32Array | Float64Array,
  options: ExpertChoiceOptions,
): ExpertChoice {
  const { capacity, ...rest } = options;
  const open = openAffinities(logits, rest, { scoring: 'softmax', normalize: false });
  const { experts, row } = open;
  requireInteger('capacity', capacity, 1, Math.floor((2 ** 31 - 1) / experts));
  const candidates: number[] = [];
  for (let token = 0; token < open.tokens; token++) if (counts(open, token)) candidates.push(token);
  const filled = Math.min(capacity, candidates.length);
  const columns = new Float64Array(candidates.length * experts);
  for (let i = 0; i < candidates.length; i++) {
    fillRow(open, candidates[i]!);
    for (let e = 0; e < experts; e++) columns[e * candidates.length + i] = row[e]!;
  }
  const tokens = new Int32Array(experts * capacity).fill(-1);
  const weights = new Float32Array(experts * capacity);
  const expertsPerToken = new Int32Array(open.tokens);
  const best = new Float64Array(filled);
  for (let e = 0; e < experts && filled > 0; e++) {
    const column = columns.subarray(e * candidates.length, (e + 1) * candidates.length);
    selectTop(column, 0, candidates.length, best, tokens, e * capacity, filled, 0);
    for (let c = e * capacity; c < e * capacity + filled; c++) {
      weights[c] = column[tokens[c]!]!;
      tokens[c] = candidates[tokens[c]!]!;
      expertsPerToken[tokens[c]!]! += 1;
    }
  }
  return { tokens, weights, expertsPerToken };
}
