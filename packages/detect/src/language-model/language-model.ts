/**
 * How much a language model tells about each token.
 *
 * - `full`: logits of the whole vocabulary (hence every rank)
 * - `topK`: the token's log-probability and those of the K most probable tokens; `rank`: also its rank in the whole vocabulary
 * - `tokenOnly`: the token's log-probability; `rank`: also its rank
 */
export type Capability =
  | { readonly distribution: 'full' }
  | { readonly distribution: 'topK'; readonly topK: number; readonly rank: boolean }
  | { readonly distribution: 'tokenOnly'; readonly rank: boolean };

/** What a threshold is bound to: scores of another model, or of the same in another type, mean something else. */
export interface ModelIdentity {
  readonly name: string;
  /** Type of weights and arithmetic, such as `bf16` or `Q4_K_M`. */
  readonly dtype: string;
  /** Length of a row of logits, where known. */
  readonly vocabulary?: number;
}

/** Options of {@link LanguageModel.score}. */
export interface ScoreOptions {
  readonly signal?: AbortSignal;
  /** Most seconds for the whole text. Default 120. */
  readonly timeoutSeconds?: number;
  /** Tokens to score; the rest of the text is cut off. Default 512. */
  readonly maxTokens?: number;
}

/** What a model says at one token of a text, in text order. */
export interface TokenScore {
  /** Id of this token; -1 where the source gives texts only. */
  readonly tokenId: number;
  /** Id of the token after it; -1 at the end or where ids are unknown. */
  readonly nextTokenId: number;
  /** Text of the token, where known. */
  readonly text?: string;
  /** `full`: logits `[vocabulary]` after this token, which predict the next; valid until the next iteration. */
  readonly row?: Float32Array;
  /** Other capabilities: ln p of this token given those before; undefined for the first. */
  readonly logProb?: number;
  /** Rank of this token from 1, where the capability says so. */
  readonly rank?: number;
  /** `topK`: ln p of the K most probable tokens at this token's place, descending. */
  readonly topLogProbs?: readonly number[];
}

/** A model that scores given texts; nothing is generated. */
export interface LanguageModel {
  readonly identity: ModelIdentity;
  readonly capability: Capability;
  /**
   * Scores a text as it is: no chat template, no start token that the tokenizer would not add by itself.
   *
   * @throws DetectError `detect/model`, `detect/http`, `detect/bad-response`; TimeoutError; the signal's reason
   */
  score(text: string, options?: ScoreOptions): AsyncIterable<TokenScore>;
  /** Frees what the model holds. */
  close(): Promise<void>;
}

/** Defaults of {@link ScoreOptions}. */
export const DEFAULT_TIMEOUT_SECONDS = 120;
/** Default of {@link ScoreOptions.maxTokens}, that of Binoculars. */
export const DEFAULT_MAX_TOKENS = 512;
