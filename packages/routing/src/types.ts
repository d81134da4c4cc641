/** How router logits become scores in (0, inf); `softmax` is taken over all experts of a token. */
export type Scoring = 'sigmoid' | 'softmax' | 'sqrtSoftplus';

/**
 * How a group of experts is ranked: by its best biased score, or by the sum of its two (`top2Sum`), three (`top3Sum`), ... best.
 * {@link nodeGroupScore} gives the sum of the top K/M that DeepSeek-V3's paper and Megatron use.
 */
export type GroupScore = 'max' | `top${number}Sum`;

/** Which node each expert is on, and how many nodes a token may use: node-limited routing. */
export interface RoutingTopology {
  /** Nodes that hold the experts. */
  nodes: number;
  /** Nodes a token may be sent to, M. */
  maxNodesPerToken: number;
  /** Node of each expert [E]. Default: equal blocks of consecutive experts. */
  nodeOfExpert?: ArrayLike<number>;
}

/** Configuration of a gate; {@link createRouter} checks it. */
export interface RouterConfig {
  /** Routed experts, E. */
  experts: number;
  /** Experts chosen per token, K. */
  topK: number;
  /** Groups of consecutive experts, G; must divide `experts`. Default 1: no group limit. */
  groups?: number;
  /** Groups kept per token, L. Default: all. */
  topKGroups?: number;
  /**
   * Node-limited routing: nodes take the place of groups (do not pass both), and `groupScore` defaults to the sum of the top
   * floor(K / M) biased scores of a node.
   */
  topology?: RoutingTopology;
  scoring: Scoring;
  /**
   * For `softmax`: over all experts `before` the selection (default), or over the chosen logits `after` it, as in Mixtral and in
   * Megatron without pre-softmax. `after` selects by logit + bias.
   */
  softmaxOrder?: 'before' | 'after';
  /** Default `top2Sum` when a bias is passed (DeepSeek-V3), else `max` (DeepSeek-V2). */
  groupScore?: GroupScore;
  /** Whether the chosen weights are divided by their sum. Default false for `softmax`, true for the others. */
  normalize?: boolean;
  /** Factor on every weight, after normalisation. Default 1. */
  routedScalingFactor?: number;
  /**
   * `f32` (default) rounds scores to float32. `bf16` rounds as a gate that runs in bfloat16: logits, elementwise
   * scores and every operation on the weights are rounded; bias addition, group scores and softmax stay float32.
   */
  precision?: 'f32' | 'bf16';
  /**
   * `hf-zero-mask` gives experts outside the kept groups the biased score 0 instead of excluding them, as Hugging Face's code does:
   * they win over kept experts whose biased scores are negative. Default `canonical`.
   */
  compat?: 'canonical' | 'hf-zero-mask';
}

/** A {@link RouterConfig} with every default that does not depend on a bias filled in; a topology shows as `groups` and `topKGroups` too. */
export type ResolvedRouterConfig = Readonly<
  Required<Omit<RouterConfig, 'groupScore' | 'topology'>> & Pick<RouterConfig, 'groupScore' | 'topology'>
>;

/** What a gate decided for T tokens; expert ids are logical. */
export interface RoutingDecision {
  /** Chosen experts [T, K], best first; -1 for masked tokens. */
  indices: Int32Array;
  /** Their weights [T, K]: unbiased scores, normalised and scaled as configured; 0 for masked tokens. */
  weights: Float32Array;
  /** Kept groups [T, L], best first; present when there is more than one group. */
  groups?: Int32Array;
  /** Tokens per expert [E]. */
  counts: Int32Array;
}

/** Options of {@link Router.route}. */
export interface RouteOptions {
  /** Correction bias per expert [E], used for selection only. */
  bias?: Float32Array | undefined;
  /** 0 for tokens that are padding [T]: their ids are -1, their weights 0, and they are not counted. */
  mask?: Uint8Array | undefined;
}

/** Caller-owned arrays for {@link Router.routeInto}; each may be longer than needed. */
export interface RouteIntoOptions extends RouteOptions {
  /** Receives the chosen experts [T, K]. */
  indices: Int32Array;
  /** Receives the weights [T, K]. */
  weights: Float32Array;
  /** Receives the kept groups [T, L]; not written when there is one group. */
  groups?: Int32Array | undefined;
  /** Receives the tokens per expert [E]; overwritten, not added to. */
  counts: Int32Array;
}

/** A gate made by {@link createRouter}. It owns scratch memory, so one router serves one thread. */
export interface Router {
  /** The configuration with every default that does not depend on a bias filled in. */
  readonly config: ResolvedRouterConfig;
  /**
   * Routes `tokens` tokens into fresh arrays.
   *
   * @param logits - router logits, row-major [T, E].
   * @param tokens - T.
   */
  route(logits: Float32Array, tokens: number, options?: RouteOptions): RoutingDecision;
  /**
   * Like `route`, into arrays of the caller and without allocation.
   *
   * @param logits - router logits, row-major [T, E].
   * @param tokens - T.
   */
  routeInto(logits: Float32Array, tokens: number, options: RouteIntoOptions): void;
  /**
   * Only the weights, for experts that were chosen elsewhere: hashing, expert parallel planning, a replayed trace.
   *
   * @param logits - router logits, row-major [T, E].
   * @param indices - chosen experts [T, K], -1 = none (weight 0).
   */
  weigh(logits: Float32Array, indices: Int32Array, options?: { out?: Float32Array }): Float32Array;
}
