import { requireGroupSize, resolveConfig } from './config.js';
import { type FastGate, openFastGate } from './fast-gate.js';
import { GroupLimit } from './group-limit.js';
import {
  notFinite,
  requireExactLength,
  requireFinite,
  requireIds,
  requireLength,
  requireTokens,
} from './operands.js';
import {
  logitRow,
  logitRowBf16,
  type ScoreRow,
  sigmoidRow,
  sigmoidRowBf16,
  softmaxRow,
  softmaxRowBf16,
  sqrtSoftplusRow,
  sqrtSoftplusRowBf16,
} from './scores.js';
import { selectTop } from './select.js';
import type {
  GroupScore,
  ResolvedRouterConfig,
  RouteIntoOptions,
  RouteOptions,
  Router,
  RouterConfig,
  RoutingDecision,
  Scoring,
} from './types.js';
import { type WeighRow, weighRow, weighRowBf16, weighRowSoftmax, weighRowSoftmaxBf16 } from './weights.js';

const SCORE_ROWS: Readonly<Record<Scoring | 'logits', { f32: ScoreRow; bf16: ScoreRow }>> = {
  sigmoid: { f32: sigmoidRow, bf16: sigmoidRowBf16 },
  softmax: { f32: softmaxRow, bf16: softmaxRowBf16 },
  sqrtSoftplus: { f32: sqrtSoftplusRow, bf16: sqrtSoftplusRowBf16 },
  logits: { f32: logitRow, bf16: logitRowBf16 },
};

/**
 * Makes a DeepSeek-V2/V3 gate: score, add the bias, keep the best groups, choose the best experts in them.
 *
 * Ties go to the lowest index, for groups and experts alike. Throws a {@link RoutingError} for a configuration that no gate
 * can run.
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
  const resolved = resolveConfig(config);
  return new TopKRouter(resolved, openFastGate(resolved));
}

/** A router that does everything in scalar TypeScript: the reference for {@link createRouter}, which gives the same bits. */
export function createScalarRouter(config: RouterConfig): Router {
  return new TopKRouter(resolveConfig(config), undefined);
}

class TopKRouter implements Router {
  readonly config: ResolvedRouterConfig;
  readonly #scoreRow: ScoreRow;
  readonly #weighRow: WeighRow;
  readonly #scores: Float32Array;
  readonly #biased: Float32Array;
  readonly #best: Float32Array;
  readonly #limit: GroupLimit | undefined;
  readonly #fast: FastGate | undefined;

  constructor(config: ResolvedRouterConfig, fast: FastGate | undefined) {
    const late = config.softmaxOrder === 'after';
    const single = config.precision === 'f32';
    this.config = config;
    this.#scoreRow = SCORE_ROWS[late ? 'logits' : config.scoring][config.precision];
    if (late) this.#weighRow = single ? weighRowSoftmax : weighRowSoftmaxBf16;
    else this.#weighRow = single ? weighRow : weighRowBf16;
    this.#scores = new Float32Array(config.experts);
    this.#biased = new Float32Array(config.experts);
    this.#best = new Float32Array(config.topK);
    this.#limit = config.groups > 1 ? new GroupLimit(config) : undefined;
    this.#fast = fast;
  }

  route(logits: Float32Array, tokens: number, options: RouteOptions = {}): RoutingDecision {
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
      mask: options.mask,
      indices: decision.indices,
      weights: decision.weights,
      groups: decision.groups,
      counts: decision.counts,
    });
    return decision;
  }

  routeInto(logits: Float32Array, tokens: number, options: RouteIntoOptions): void {
    const { experts, topK, topKGroups } = this.config;
    const { bias, mask, groups, counts } = options;
    const groupScore = this.config.groupScore ?? (bias === undefined ? 'max' : 'top2Sum');
    this.#check(logits, tokens, groupScore, options);
    if (mask === undefined && this.#fast?.route(logits, tokens, groupScore, options) === true) return;
    counts.fill(0, 0, experts);
    for (let token = 0; token < tokens; token++) {
      if (mask !== undefined && mask[token] === 0) {
        options.indices.fill(-1, token * topK, (token + 1) * topK);
        options.weights.fill(0, token * topK, (token + 1) * topK);
        if (this.#limit !== undefined) groups?.fill(-1, token * topKGroups, (token + 1) * topKGroups);
      } else this.#routeToken(logits, token, groupScore, options);
    }
  }

  weigh(logits: Float32Array, indices: Int32Array, options: { out?: Float32Array } = {}): Float32Array {
    const { experts, topK, normalize, routedScalingFactor } = this.config;
    const tokens = Math.floor(indices.length / topK);
    requireExactLength('indices', indices.length, tokens * topK, '[tokens, topK]');
    requireLength('logits', logits.length, tokens * experts, '[tokens, experts]');
    requireIds('indices', indices, indices.length, experts);
    const out = options.out ?? new Float32Array(tokens * topK);
    requireLength('out', out.length, tokens * topK, '[tokens, topK]');
    for (let token = 0; token < tokens; token++) {
      // A masked token may hold anything in its logits.
      if (hasId(indices, token * topK, topK)) requireFiniteRow(logits, token, experts);
    }
    for (let token = 0; token < tokens; token++) {
      const offset = token * topK;
      if (!hasId(indices, offset, topK)) {
        out.fill(0, offset, offset + topK);
        continue;
      }
      this.#scoreRow(logits, token * experts, this.#scores);
      this.#weighRow(this.#scores, indices, offset, topK, normalize, routedScalingFactor, out);
    }
    return out;
  }

  #routeToken(logits: Float32Array, token: number, groupScore: GroupScore, options: RouteIntoOptions): void {
    const { experts, topK, topKGroups, normalize, routedScalingFactor } = this.config;
    const { bias, indices, groups, counts } = options;
    const scores = this.#scores;
    const limit = this.#limit;
    const offset = token * topK;
    this.#scoreRow(logits, token * experts, scores);
    let biased = scores;
    if (bias !== undefined) {
      biased = this.#biased;
      for (let e = 0; e < experts; e++) biased[e] = scores[e]! + bias[e]!;
    }
    if (limit === undefined) selectTop(biased, 0, experts, this.#best, indices, offset, topK, 0);
    else {
      limit.select(biased, groupScore);
      if (groups !== undefined) {
        for (let l = 0; l < topKGroups; l++) groups[token * topKGroups + l] = limit.chosen[l]!;
      }
      limit.choose(biased, this.#best, indices, offset);
    }
    this.#weighRow(scores, indices, offset, topK, normalize, routedScalingFactor, options.weights);
    for (let k = 0; k < topK; k++) counts[indices[offset + k]!]! += 1;
  }

  #check(logits: Float32Array, tokens: number, groupScore: GroupScore, options: RouteIntoOptions): void {
    const { experts, topK, groups, topKGroups } = this.config;
    const { bias, mask } = options;
    requireTokens(tokens);
    requireLength('logits', logits.length, tokens * experts, '[tokens, experts]');
    requireLength('indices', options.indices.length, tokens * topK, '[tokens, topK]');
    requireLength('weights', options.weights.length, tokens * topK, '[tokens, topK]');
    requireLength('counts', options.counts.length, experts, '[experts]');
    if (groups > 1 && options.groups !== undefined) {
      requireLength('groups', options.groups.length, tokens * topKGroups, '[tokens, topKGroups]');
    }
    if (bias !== undefined) {
      requireExactLength('bias', bias.length, experts, 'one bias per expert');
      if (this.config.groupScore === undefined) requireGroupSize(groupScore, experts / groups, groups);
      requireFinite('bias', bias, experts);
    }
    if (mask === undefined) requireFinite('logits', logits, tokens * experts);
    else {
      requireLength('mask', mask.length, tokens, '[tokens]');
      for (let token = 0; token < tokens; token++) {
        if (mask[token] !== 0) requireFiniteRow(logits, token, experts);
      }
    }
  }
}

function hasId(indices: Int32Array, offset: number, topK: number): boolean {
  for (let k = 0; k < topK; k++) if (indices[offset + k]! >= 0) return true;
  return false;
}

function requireFiniteRow(logits: Float32Array, token: number, experts: number): void {
  for (let i = token * experts, end = i + experts; i < end; i++) {
    const value = logits[i]!;
    if (value - value !== 0) throw notFinite('logits', value, i);
  }
}
