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

/** A request that the engine knows: its tokens, and which of them a rank of each stage was told. */
export class Running {
  readonly id: number;
  readonly setup: SequenceSetup;
  readonly sink: TokenSink;
  readonly #tokens: Int32Array;
  #length: number;
  /** Per stage, of the rank that has the request; 0 = it was never told of it. */
  readonly #known: Int32Array;
  readonly #rankOf: Int32Array;

  constructor(id: number, submission: Submission, stages: number) {
    const { prompt, maxNewTokens, setup, sink } = submission;
    this.id = id;
    this.setup = setup;
    this.sink = sink;
    this.#tokens = new Int32Array(prompt.length + maxNewTokens);
    this.#tokens.set(prompt);
    this.#length = prompt.length;
    this.#known = new Int32Array(stages);
    this.#rankOf = new Int32Array(stages);
  }

  /** Sends a rank the tokens that it has not seen; another rank that had the request forgets it. */
  tell(stage: number, rank: number, ranks: RankStepEngine): void {
    if (this.#rankOf[stage] !== rank) {
      this.release(stage, ranks);
      this.#rankOf[stage] = rank;
    }
    const from = this.#known[stage]!;
    if (from === this.#length) return;
    const tokens = this.#tokens.slice(from, this.#length);
    ranks.tell(stage, rank, {
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

  /** Lets the rank of a stage that has the request, if one has, forget it. */
  release(stage: number, ranks: RankStepEngine): void {
    if (this.#known[stage] === 0) return;
    this.#known[stage] = 0;
    ranks.tell(stage, this.#rankOf[stage]!, { type: 'release', id: this.id });
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
