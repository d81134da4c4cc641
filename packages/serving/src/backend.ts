import type { FinishReason, TokenUsage } from '@moestack/schemas';

/** One message of a chat, as its template sees it. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** What to continue. */
export type Prompt =
  | { readonly type: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'tokens'; readonly ids: Int32Array };

/** How the next token is drawn. What is left out comes from the model's generation_config.json. */
export interface SamplingRequest {
  /** 0 = always the most likely token. */
  readonly temperature?: number;
  /** Keep the most likely tokens whose probabilities sum to this, in (0, 1]. */
  readonly topP?: number;
  /** Keep this many most likely tokens; 0 = all. */
  readonly topK?: number;
  /** Keep tokens at least this fraction as likely as the most likely one, in [0, 1]. */
  readonly minP?: number;
}

/** One generation: one prompt, one continuation. */
export interface GenerateRequest {
  readonly requestId: string;
  readonly model: string;
  readonly prompt: Prompt;
  /** Most new tokens; the room left in the context bounds it. Default: generation_config.json, else all the room. */
  readonly maxTokens?: number;
  readonly sampling: SamplingRequest;
  /** Same seed, same text. Default: a random one. */
  readonly seed?: number;
  /** The text ends before the first of these. */
  readonly stop: readonly string[];
  /** Report each token's log-probability and this many alternatives. */
  readonly logprobs?: number;
  /** Report the prompt's text (and, with `logprobs`, its tokens' log-probabilities) in the start event. */
  readonly echo?: boolean;
  /** Generate past the end-of-text token. */
  readonly ignoreEos?: boolean;
  /** Whose request it is, such as an API key; under load each gets tokens by its weight, default 1. Tenants see nothing of each other's cached prompts. */
  readonly tenant?: { readonly id: string; readonly weight?: number };
  /** Higher values are served first; default 0. */
  readonly priority?: number;
}

/** A token and its natural-log probability under the model (temperature 1, no truncation). */
export interface TokenProbability {
  readonly id: number;
  /** The token's text; bytes that are no UTF-8 by themselves show as U+FFFD. */
  readonly token: string;
  /** The token's bytes. */
  readonly bytes: readonly number[];
  readonly logprob: number;
}

/** A generated token, with the most likely alternatives at its place, best first. */
export interface TokenLogprob extends TokenProbability {
  readonly top: readonly TokenProbability[];
}

/** A token of an echoed prompt; the first has no prediction. */
export interface PromptLogprob extends Omit<TokenLogprob, 'logprob'> {
  readonly logprob: number | null;
}

/** Tokens counted. */
export type Usage = Readonly<TokenUsage>;

/** What a backend reports while it generates: `start`, any number of `delta`, `finish`. */
export type BackendEvent =
  | {
      readonly type: 'start';
      readonly promptTokens: number;
      /** The prompt's text, when `echo` was asked for. */
      readonly promptText?: string;
      readonly promptLogprobs?: readonly PromptLogprob[];
    }
  | { readonly type: 'delta'; readonly text: string; readonly logprobs?: readonly TokenLogprob[] }
  | {
      readonly type: 'finish';
      readonly reason: FinishReason;
      /** The stop string that ended the text. */
      readonly stop?: string;
      readonly usage: Usage;
    };

/** A model that some server serves. */
export interface ServedModel {
  readonly id: string;
  /** Longest prompt plus continuation, where the server tells. */
  readonly contextTokens?: number;
  readonly ownedBy?: string;
}

/** A model that a backend of this process serves. */
export interface ModelCard extends ServedModel {
  readonly contextTokens: number;
}

/** A cumulative histogram: `counts[i]` values were at most `bounds[i]`, `count` in all. */
export interface HistogramSnapshot {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/** Figures of one stage of an engine. */
export interface StageMetrics {
  readonly stage: string;
  readonly usedBlocks: number;
  readonly totalBlocks: number;
}

/** A backend's figures at one moment; counters only grow. */
export interface BackendMetrics {
  readonly runningRequests: number;
  readonly waitingRequests: number;
  /** Sequences per decode step. */
  readonly decodeBatchSize?: HistogramSnapshot;
  /** KV bytes moved from prefill to decode. */
  readonly handoverBytes?: number;
  readonly handovers?: number;
  readonly stages?: readonly StageMetrics[];
}

/** Whether a backend can serve. */
export interface BackendHealth {
  readonly status: 'ok' | 'failed';
  readonly detail?: string;
}

/** What every backend tells about itself. */
export interface BackendBase {
  readonly name: string;
  /** The models that requests may name. */
  models(): Promise<readonly ServedModel[]>;
  /** Counters and gauges as they are now. */
  metrics(): BackendMetrics;
  /** Whether requests would be served now. */
  health(): BackendHealth;
  /** Ends the backend; requests still running fail with a typed error. */
  close(): Promise<void>;
}

/**
 * Something that generates: an engine in this process. Pools of servers are {@link ForwardingBackend}s.
 *
 * `generate` throws (on the first `next()`) what can be said before any token: an unknown model, a prompt that is too
 * long, a full queue. `start` is the promise that the request was admitted. Events wait until they are read.
 */
export interface Backend extends BackendBase {
  models(): Promise<readonly ModelCard[]>;
  /** Answers one request as a stream of events; ends it when the signal fires. */
  generate(request: GenerateRequest, options: { signal: AbortSignal }): AsyncIterable<BackendEvent>;
}
