/** How logits become statistics; see {@link TextScorerOptions.precision}. */
export type ScorePrecision = 'fast' | 'f64' | 'f32' | 'bf16';

/** Per-token statistics of a text; element i belongs to the i-th token that has a predecessor in the text. */
export interface TokenStatistics {
  /** Number of scored tokens. */
  readonly length: number;
  /** ln q(token) of the performer. */
  readonly logProb: Float64Array;
  /** Rank of the token in the performer's distribution, from 1. */
  readonly rank: Float64Array;
  /** ln q of the performer's best token at that position. */
  readonly bestLogProb: Float64Array;
  /** Entropy of the performer. */
  readonly entropy: Float64Array;
  /** Variance of ln q under the performer. */
  readonly variance: Float64Array;
  /** -sum p ln q, p of the observer (of the performer, if there is no observer). */
  readonly crossEntropy: Float64Array;
  /** Variance of ln q under the observer (the performer, if there is no observer). */
  readonly crossVariance: Float64Array;
  /** -sum p ln p over the performer's most probable tokens, not renormalised; empty unless asked for. */
  readonly topEntropy: Float64Array;
}

/** Everything that one pass over a text's logits leaves behind; detectors are functions of this. */
export interface TextStatistics {
  readonly precision: ScorePrecision;
  readonly temperature: number;
  /** Whether a second model's logits were given. */
  readonly hasObserver: boolean;
  readonly tokens: TokenStatistics;
  /** -ln q(token) of every counted label: where the attention mask is 1, position 0 excepted (Binoculars). */
  readonly labelLosses: Float64Array;
  /** Cross-entropy at every counted position (Binoculars: all that are not the pad token, the last included). */
  readonly crossEntropies: Float64Array;
  /** Cross-entropy at exactly the positions that predict a counted label. */
  readonly alignedCrossEntropies: Float64Array;
  /** ln q of sampled tokens `[samples, tokens.length]`; empty unless asked for. */
  readonly sampledLogProbs: Float64Array;
  readonly samples: number;
}
