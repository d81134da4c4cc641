import { requireInteger, requireOneOf } from '../operands.js';
import { addAffinities, addGradient, openAffinities } from './affinities.js';
import { addCounts, type CountReducer, openSelection, type Selection } from './counts.js';
import { type BalanceLoss, type BalanceLossOptions, dot, scale } from './deepseek.js';

/**
 * What the counts are divided by: `topK` (Megatron: by K T, 1 when balanced), `none` (Hugging Face Mixtral: by T, K when
 * balanced), `firstChoice` (GShard: only first choices, by T).
 */
export type SwitchNormalization = 'topK' | 'none' | 'firstChoice';

/** Options of {@link switchLoss}. */
export interface SwitchLossOptions extends BalanceLossOptions {
  /** Default `topK`. */
  normalization?: SwitchNormalization;
  /**
   * Makes the loss a global-batch one: called once with the E counts followed by the number of tokens, to be summed over all ranks and
   * micro-batches. Affinities stay local.
   */
  reduceCounts?: CountReducer;
}

/**
 * Load-balancing loss of the Switch Transformer: coefficient * E * sum_i f_i P_i, f_i = fraction of the assignments on expert i.
 *
 * @param logits - router logits [T, E].
 * @param selection - chosen experts [T, K], or `'plain'`.
 * @param options - `coefficient` defaults to 1, `scoring` to `softmax`, affinities are normalised.
 */
export function switchLoss(
  logits: Float32Array | Float64Array,
  selection: Selection,
  options: SwitchLossOptions,
): BalanceLoss {
  const open = openAffinities(logits, options, { scoring: 'softmax', normalize: true });
  const { tokens, experts } = open;
  const topK = requireInteger('topK', options.topK, 1, experts);
  const normalization = options.normalization ?? 'topK';
  requireOneOf('normalization', normalization, ['topK', 'none', 'firstChoice']);
  const indices = openSelection(selection, open, topK);
  const affinities = new Float64Array(experts);
  const counted = addAffinities(open, 0, tokens, affinities);
  const reduced = new Float64Array(experts + 1);
  addCounts(indices, topK, normalization === 'firstChoice' ? 1 : topK, open, 0, tokens, reduced);
  reduced[experts] = counted;
  options.reduceCounts?.(reduced);
  const fractions = reduced.slice(0, experts);
  const total = reduced[experts]!;
  if (counted === 0 || total === 0) return { value: 0, fractions: fractions.fill(0), affinities };
  scale(fractions, experts / (total * (normalization === 'topK' ? topK : 1)), open.single);
  scale(affinities, 1 / counted, open.single);
  const coefficient = options.coefficient ?? 1;
  const value = coefficient * dot(fractions, affinities);
  if (options.gradLogits !== undefined) {
    const weights = new Float64Array(experts);
    for (let e = 0; e < experts; e++) weights[e] = (coefficient / counted) * fractions[e]!;
    addGradient(open, 0, tokens, weights, 0, options.gradLogits);
  }
  return { value: open.single ? Math.fround(value) : value, fractions, affinities };
}
