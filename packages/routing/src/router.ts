import { requireGroupPairs, resolveConfig } from './config.js';
import { RoutingError } from './errors.js';
import { requireFinite, requireLength, requireTokens } from './operands.js';
import {
  type ScoreRow,
  sigmoidRow,
  sigmoidRowBf16,
  softmaxRow,
  softmaxRowBf16,
  sqrtSoftplusRow,
  sqrtSoftplusRowBf16,
} from './scores.js';
import { scoreGroups, selectTop } from './select.js';
import type { RouteIntoOptions, Router, RouterConfig, RoutingDecision, Scoring } from './types.js';
import { weighRow, weighRowBf16 } from './weights.js';

const SCORE_ROWS: Readonly<Record<Scoring, { f32: ScoreRow; bf16: ScoreRow }>> = {
  sigmoid: { f32: sigmoidRow, bf16: sigmoidRowBf16 },
  softmax: { f32: softmaxRow, bf16: softmaxRowBf16 },
  sqrtSoftplus: { f32: sqrtSoftplusRow, bf16: sqrtSoftplusRowBf16 },
};

/**
 * Makes a DeepSeek-V2/V3 gate: score, add the bias, keep the best groups, choose the best experts in them.
 *
 * Selection looks at biased scores, weights are unbiased (DeepSeek-V3 report, section 2.1.2). Ties go to the lowest
 * index, for groups and for experts. Logits and bias must be finite.
 *
 * @throws RoutingError `routing/bad-config` for a configuration that no gate can run.
 *
 * @example
 * ```ts
 * import { createRouter } from '@moestack/routing';
 *
 * const router = createRouter({ experts: 4, topK: 2, scoring: 'softmax' });
 * const { indices, counts } = router.route(Float32Array.of(0, 3, 1, 2), 1);
 * console.log(indices, counts);
 * ```
 */
export function createRouter(config: RouterConfig): Router {
  return new TopKRouter(resolveConfig(config));
}

class TopKRouter implements Router {
  readonly config: Router['config'];
  readonly #scoreRow: ScoreRow;
  readonly #weighRow: typeof weighRow;
  readonly #scores: Float32Array;
  readonly #biased: Float32Array;
  readonly #best: Float32Array;
  readonly #groupScores: Float32Array;
  readonly #groupBest: Float32Array;
  readonly #groupIndices: Int32Array;
  readonly #groupKept: Uint8Array;

  constructor(config: Router['config']) {
    this.config = config;
    this.#scoreRow = SCORE_ROWS[config.scoring][config.precision];
    this.#weighRow = config.precision === 'bf16' ? weighRowBf16 : weighRow;
    this.#scores = new Float32Array(config.experts);
    this.#biased = new Float32Array(config.experts);
    this.#best = new Float32Array(config.topK);
    this.#groupScores = new Float32Array(config.groups);
    this.#groupBest = new Float32Array(config.topKGroups);
    this.#groupIndices = new Int32Array(config.topKGroups);
    this.#groupKept = new Uint8Array(config.groups);
  }

  route(logits: Float32Array, tokens: number, options: { bias?: Float32Array } = {}): RoutingDecision {
    const { experts, topK, groups, topKGroups } = this.config;
    // Before the allocations below, so that a wild token count is a typed error.
    requireTokens(tokens);
    requireLength('logits', logits.length, tokens * experts, '[tokens, experts]');
    const decision: RoutingDecision = {
      indices: new Int32Array(tokens * topK),
      weights: new Float32Array(tokens * topK),
      counts: new Int32Array(experts),
    };
    if (groups > 1) decision.groups = new Int32Array(tokens * topKGroups);
    this.routeInto(logits, tokens, {
      bias: options.bias,
      indices: decision.indices,
      weights: decision.weights,
      groups: decision.groups,
      counts: decision.counts,
    });
    return decision;
  }

  routeInto(logits: Float32Array, tokens: number, options: RouteIntoOptions): void {
    const config = this.config;
    const { experts, topK, topKGroups } = config;
    const { bias, indices, weights, groups, counts } = options;
    this.#check(logits, tokens, options);
    const limited = config.groups > 1;
    const top2Sum = (config.groupScore ?? (bias === undefined ? 'max' : 'top2Sum')) === 'top2Sum';
    const scores = this.#scores;
    const biased = bias === undefined ? scores : this.#biased;
    const best = this.#best;
    counts.fill(0, 0, experts);
    for (let token = 0; token < tokens; token++) {
      const offset = token * topK;
      this.#scoreRow(logits, token * experts, scores);
      if (bias !== undefined) for (let e = 0; e < experts; e++) biased[e] = scores[e]! + bias[e]!;
      if (limited) {
        this.#selectGroups(biased, top2Sum);
        if (groups !== undefined) {
          for (let l = 0; l < topKGroups; l++) groups[token * topKGroups + l] = this.#groupIndices[l]!;
        }
        this.#selectInGroups(biased, indices, offset);
      } else selectTop(biased, 0, experts, best, indices, offset, topK, 0);
      this.#weighRow(scores, indices, offset, topK, config.normalize, config.routedScalingFactor, weights);
      for (let k = 0; k < topK; k++) counts[indices[offset + k]!]! += 1;
    }
  }

  #selectGroups(biased: Float32Array, top2Sum: boolean): void {
    const { groups, topKGroups } = this.config;
    scoreGroups(biased, this.#groupScores, top2Sum);
    selectTop(this.#groupScores, 0, groups, this.#groupBest, this.#groupIndices, 0, topKGroups, 0);
  }

  /** Offers the kept groups in index order, which is what makes ties go to the lowest expert. */
  #selectInGroups(biased: Float32Array, indices: Int32Array, offset: number): void {
    const { experts, topK, groups, topKGroups } = this.config;
    const kept = this.#groupKept;
    const size = experts / groups;
    kept.fill(0);
    for (let l = 0; l < topKGroups; l++) kept[this.#groupIndices[l]!] = 1;
    let length = 0;
    for (let g = 0; g < groups; g++) {
      if (kept[g] === 1) {
        length = selectTop(biased, g * size, (g + 1) * size, this.#best, indices, offset, topK, length);
      }
    }
  }

  #check(logits: Float32Array, tokens: number, options: RouteIntoOptions): void {
    const { experts, topK, groups, topKGroups, groupScore } = this.config;
    const { bias } = options;
    requireTokens(tokens);
    requireLength('logits', logits.length, tokens * experts, '[tokens, experts]');
    requireLength('indices', options.indices.length, tokens * topK, '[tokens, topK]');
    requireLength('weights', options.weights.length, tokens * topK, '[tokens, topK]');
    requireLength('counts', options.counts.length, experts, '[experts]');
    if (groups > 1 && options.groups !== undefined) {
      requireLength('groups', options.groups.length, tokens * topKGroups, '[tokens, topKGroups]');
    }
    if (bias !== undefined) {
      if (bias.length !== experts) {
        throw new RoutingError({
          code: 'routing/bad-shape',
          message: `expected ${experts} elements (one per expert) in bias, got ${bias.length}`,
          value: bias.length,
          remedy: 'pass one bias per expert',
        });
      }
      if (groupScore === undefined) requireGroupPairs(experts, groups);
      requireFinite('bias', bias, experts);
    }
    requireFinite('logits', logits, tokens * experts);
  }
}
