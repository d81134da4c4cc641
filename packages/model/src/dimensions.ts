import type { RouterConfig } from '@moestack/routing';
import { type DeepseekConfig, scoringFunction, topKMethod } from './config.js';

/** Sizes of the network in one place, derived from a checked {@link DeepseekConfig}; symbols as in the papers. */
export interface Dimensions {
  readonly vocabulary: number;
  /** Width of the residual stream. */
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** Rank of the compressed query, or 0 where the query is one projection (`q_proj`). */
  readonly queryRank: number;
  /** Rank of the latent that keys and values are expanded from. */
  readonly rank: number;
  /** Dimensions of a head's query and key without position. */
  readonly nopeDims: number;
  /** Rotary dimensions, one key of them shared by all heads. */
  readonly ropeDims: number;
  readonly valueDims: number;
  /** Query and key dimensions of a head: `nopeDims + ropeDims`. */
  readonly headDims: number;
  /** What the cache holds for one token and layer: `rank + ropeDims` values. */
  readonly latentDims: number;
  readonly denseWidth: number;
  readonly expertWidth: number;
  readonly experts: number;
  readonly topK: number;
  /** Width of the shared experts together: one MLP of `n_shared_experts * moe_intermediate_size`; 0 = none. */
  readonly sharedWidth: number;
  readonly hasCorrectionBias: boolean;
  readonly interleavedRope: boolean;
  readonly epsilon: number;
}

/** The sizes that `config` describes. */
export function dimensionsOf(config: DeepseekConfig): Dimensions {
  const experts = config.n_routed_experts ?? 0;
  const expertWidth = config.moe_intermediate_size ?? 0;
  return {
    vocabulary: config.vocab_size,
    hidden: config.hidden_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    queryRank: config.q_lora_rank ?? 0,
    rank: config.kv_lora_rank,
    nopeDims: config.qk_nope_head_dim,
    ropeDims: config.qk_rope_head_dim,
    valueDims: config.v_head_dim,
    headDims: config.qk_nope_head_dim + config.qk_rope_head_dim,
    latentDims: config.kv_lora_rank + config.qk_rope_head_dim,
    denseWidth: config.intermediate_size,
    expertWidth,
    experts,
    topK: experts === 0 ? 0 : (config.num_experts_per_tok ?? 0),
    sharedWidth: experts === 0 ? 0 : (config.n_shared_experts ?? 0) * expertWidth,
    hasCorrectionBias: topKMethod(config) === 'noaux_tc',
    interleavedRope: config.rope_interleave ?? true,
    epsilon: config.rms_norm_eps,
  };
}

/** Whether layer `layer` routes to experts; the others hold one dense MLP. */
export function isMoeLayer(config: DeepseekConfig, layer: number): boolean {
  const experts = config.n_routed_experts;
  if (experts === null || experts === undefined) return false;
  return layer >= config.first_k_dense_replace && layer % config.moe_layer_freq === 0;
}

/**
 * The gate of `config` in the terms of `@moestack/routing`. Only `noaux_tc` has a correction bias, and with it groups
 * rank by their two best experts; `group_limited_greedy` ranks them by the best one; `greedy` knows no groups.
 */
export function routerConfigOf(config: DeepseekConfig): RouterConfig {
  const method = topKMethod(config);
  const groups = method === 'greedy' ? 1 : (config.n_group ?? 1);
  const scoring = scoringFunction(config) === 'softmax' ? 'softmax' : 'sigmoid';
  return {
    experts: config.n_routed_experts ?? 0,
    topK: config.num_experts_per_tok ?? 0,
    groups,
    topKGroups: method === 'greedy' ? 1 : (config.topk_group ?? groups),
    scoring,
    groupScore: method === 'noaux_tc' ? 'top2Sum' : 'max',
    normalize: config.norm_topk_prob ?? scoring === 'sigmoid',
    routedScalingFactor: config.routed_scaling_factor,
  };
}
