import type { TokenLogprobs } from '@moestack/model';
import type { SequenceSetup } from './protocol.js';
import type { RankStepEngine } from './rank-step-engine.js';

/** Why a continuation ended: the end-of-text token, the sink's wish, or the length. */
export type EndReason = 'eos' | 'stop' | 'length';

/** Who receives a continuation. */
export interface TokenSink {
  /** Before the first step: so many tokens of the prompt need no computation. */
  onAdmitted?(cachedTokens: number): void;
  /** @returns whether the text ends before this token. */
  onToken(token: number, logprobs: TokenLogprobs | undefined): boolean;
  onPromptLogprobs(position: number, logprobs: TokenLogprobs): void;
  /** After the first step, when all that is to be said about the prompt was said. */
  onEnd(reason: EndReason): void;
  onError(error: unknown): void;
}

/** A request for the engine. */
export interface Submission {
  readonly prompt: Int32Array;
  readonly maxNewTokens: number;
  readonly setup: SequenceSetup;
  readonly sink: TokenSink;
  /** Higher values are admitted first; default 0. */
  readonly priority?: number;
  readonly tenant?: { readonly id: string; readonly weight?: number };
}

/** A request that the engine knows: its tokens, and which of them each stage was told. */
export class Running {
  readonly id: number;
  readonly setup: SequenceSetup;
  readonly sink: TokenSink;
  readonly #tokens: Int32Array;
  #length: number;
  /** Per stage; 0 = it was never told of this request. */
  readonly #known: Int32Array;

  constructor(id: number, submission: Submission, stages: number) {
    const { prompt, maxNewTokens, setup, sink } = submission;
    this.id = id;
    this.setup = setup;
    this.sink = sink;
    this.#tokens = new Int32Array(prompt.length + maxNewTokens);
    this.#tokens.set(prompt);
    this.#length = prompt.length;
    this.#known = new Int32Array(stages);
  }

  /** Sends a stage the tokens that it has not seen. */
  tell(stage: number, ranks: RankStepEngine): void {
    const from = this.#known[stage]!;
    if (from === this.#length) return;
    const tokens = this.#tokens.slice(from, this.#length);
    ranks.tell(stage, {
      type: 'tokens',
      id: this.id,
      from,
      tokens,
      ...(from === 0 && { setup: this.setup }),
    });
    this.#known[stage] = this.#length;
  }

  /** Whether any stage was told of this request. */
  get isKnown(): boolean {
    for (let stage = 0; stage < this.#known.length; stage++) if (this.#known[stage]! > 0) return true;
    return false;
  }

  /** Whether a stage was ever told of this request. */
  isKnownTo(stage: number): boolean {
    return this.#known[stage]! > 0;
  }

  /** Takes a token that a stage sampled. Returns why the text ends here, if it does. */
  take(
    stage: number,
    token: number,
    isEos: boolean,
    logprobs: TokenLogprobs | undefined,
  ): EndReason | undefined {
    this.#tokens[this.#length++] = token;
    this.#known[stage] = this.#length;
    if (isEos) return 'eos';
    if (this.sink.onToken(token, logprobs)) return 'stop';
    return this.#length === this.#tokens.length ? 'length' : undefined;
  }
}
