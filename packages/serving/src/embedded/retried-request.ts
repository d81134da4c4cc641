import type { TokenLogprobs } from '@moestack/model';
import type { Engine } from './engine.js';
import type { EndReason, Submission, TokenSink } from './running.js';

/** What the owner of a {@link RetriedRequest} learns. */
export interface RetryListener {
  /** The request has ended, in whatever way. */
  onEnd(): void;
  /** The engine gave it up; it can be submitted again. */
  onLost(request: RetriedRequest, error: unknown): void;
}

/** A request that can go on in another engine: it keeps the tokens that it has got. */
export class RetriedRequest implements TokenSink {
  /** Times that it was handed to an engine. */
  attempts = 0;
  readonly #submission: Submission;
  readonly #listener: RetryListener;
  readonly #tokens: number[] = [];
  #cancel: () => void = () => undefined;
  #wantsEnd = false;
  #ended = false;

  constructor(submission: Submission, listener: RetryListener) {
    this.#submission = submission;
    this.#listener = listener;
  }

  /** Hands it to an engine, with the tokens that it has as part of the prompt. @throws what the engine throws. */
  submit(engine: Pick<Engine, 'submit'>): void {
    if (this.#ended) return;
    const { prompt, maxNewTokens } = this.#submission;
    const left = maxNewTokens - this.#tokens.length;
    if (this.#wantsEnd || left === 0) {
      this.onEnd(this.#wantsEnd ? 'stop' : 'length');
      return;
    }
    const known = new Int32Array(prompt.length + this.#tokens.length);
    known.set(prompt);
    known.set(this.#tokens, prompt.length);
    this.attempts++;
    this.#cancel = engine.submit({ ...this.#submission, prompt: known, maxNewTokens: left, sink: this });
  }

  /** Ends it without a word to the sink. */
  cancel(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#cancel();
    this.#listener.onEnd();
  }

  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#submission.sink.onError(error);
    this.#listener.onEnd();
  }

  onAdmitted(cachedTokens: number): void {
    if (!this.#ended) this.#submission.sink.onAdmitted?.(cachedTokens);
  }

  onToken(token: number, logprobs: TokenLogprobs | undefined): boolean {
    if (this.#ended) return true;
    this.#tokens.push(token);
    this.#wantsEnd = this.#submission.sink.onToken(token, logprobs);
    return this.#wantsEnd;
  }

  onPromptLogprobs(position: number, logprobs: TokenLogprobs): void {
    if (!this.#ended) this.#submission.sink.onPromptLogprobs(position, logprobs);
  }

  onEnd(reason: EndReason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#submission.sink.onEnd(reason);
    this.#listener.onEnd();
  }

  onError(error: unknown): void {
    this.#cancel = () => undefined;
    if (!this.#ended) this.#listener.onLost(this, error);
  }
}
