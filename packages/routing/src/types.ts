/** How router logits become scores in (0, inf); `softmax` is taken over all experts of a token. */
export type Scoring = 'sigmoid' | 'softmax' | 'sqrtSoftplus';

/** How a group of experts is ranked: by its best biased score, or by the sum of its two best. */
export type GroupScore = 'max' | 'top2Sum';

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
  scoring: Scoring;
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
}

/** What a gate decided for T tokens; expert ids are logical. */
export interface RoutingDecision {
  /** Chosen experts [T, K], best first. */
  indices: Int32Array;
  /** Their weights [T, K]: unbiased scores, normalised and scaled as configured. */
  weights: Float32Array;
  /** Kept groups [T, L], best first; present when there is more than one group. */
  groups?: Int32Array;
  /** Tokens per expert [E]. */
  counts: Int32Array;
}

/** Caller-owned arrays for {@link Router.routeInto}; each may be longer than needed. */
export interface RouteIntoOptions {
  /** Correction bias per expert [E], used for selection only. */
  bias?: Float32Array | undefined;
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
  readonly config: Readonly<Required<Omit<RouterConfig, 'groupScore'>> & Pick<RouterConfig, 'groupScore'>>;
  /**
   * Routes `tokens` tokens into fresh arrays.
   *
   * @param logits - router logits, row-major [T, E].
   * @param tokens - T.
   */
  route(logits: Float32Array, tokens: number, options?: { bias?: Float32Array }): RoutingDecision;
  /**
   * Like `route`, into arrays of the caller and without allocation.
   *
   * @param logits - router logits, row-major [T, E].
   * @param tokens - T.
   */
  routeInto(logits: Float32Array, tokens: number, options: RouteIntoOptions): void;
}
