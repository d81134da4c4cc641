import type { Detokenizer, Tokenizer, TokenLogprobs } from '@moestack/model';
import type { BackendEvent, PromptLogprob, TokenLogprob, Usage } from '../backend.js';
import { EventQueue } from './event-queue.js';
import { PromptScores } from './prompt-scores.js';
import type { EndReason, TokenSink } from './running.js';
import { StopMatcher } from './stop-matcher.js';
import { tokenLogprob } from './token-logprob.js';

/** What a {@link TextOutput} needs to know of its request. */
export interface TextOutputOptions {
  readonly tokenizer: Tokenizer;
  readonly prompt: Int32Array;
  readonly stop: readonly string[];
  /** No token is wanted: the request is about its prompt. */
  readonly promptOnly: boolean;
  /** The prompt's text, to be reported. */
  readonly promptText: string | undefined;
  /** The prompt's log-probabilities are to be reported, so `start` waits for them. */
  readonly scoresPrompt: boolean;
}

/** Turns the tokens of one request into events: text as soon as it is certain, cut before a stop string. */
export class TextOutput implements TokenSink {
  readonly #queue = new EventQueue();
  readonly #options: TextOutputOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stop: StopMatcher;
  readonly #scores: PromptScores;
  /** Entries whose text is not sent yet, each with the place where its text starts. */
  #pending: { start: number; entry: TokenLogprob }[] = [];
  #started = false;
  #tokens = 0;
  #cachedTokens = 0;
  /** Length of the text known, and of what was sent. */
  #known = 0;
  #sent = 0;
  #found: string | undefined;

  constructor(options: TextOutputOptions) {
    this.#options = options;
    this.#detokenizer = options.tokenizer.createDetokenizer();
    this.#stop = new StopMatcher(options.stop);
    this.#scores = new PromptScores(options.tokenizer, options.prompt);
    if (!options.scoresPrompt) this.#start();
  }

  next(): Promise<BackendEvent> {
    return this.#queue.next();
  }

  onAdmitted(cachedTokens: number): void {
    this.#cachedTokens = cachedTokens;
  }

  onToken(token: number, logprobs: TokenLogprobs | undefined): boolean {
    this.#start();
    if (this.#options.promptOnly) return true;
    this.#tokens += 1;
    if (logprobs !== undefined) {
      this.#pending.push({
        start: this.#known,
        entry: tokenLogprob(this.#options.tokenizer, token, logprobs),
      });
    }
    return this.#take(this.#detokenizer.push(token));
  }

  onPromptLogprobs(position: number, logprobs: TokenLogprobs): void {
    this.#scores.set(position, logprobs);
  }

  onEnd(reason: EndReason): void {
    this.#start();
    if (reason === 'eos' && !this.#options.promptOnly) this.#tokens += 1;
    let ended: EndReason = this.#options.promptOnly ? 'length' : reason;
    if (this.#found === undefined && this.#take(this.#detokenizer.flush())) ended = 'stop';
    if (this.#found === undefined) this.#send(this.#stop.end(), Number.POSITIVE_INFINITY);
    this.#queue.finish({
      type: 'finish',
      reason: ended === 'length' ? 'length' : 'stop',
      usage: this.#usage(),
      ...(this.#found !== undefined && { stop: this.#found }),
    });
  }

  onError(error: unknown): void {
    this.#queue.fail(error);
  }

  #start(): void {
    if (this.#started) return;
    this.#started = true;
    const { prompt, promptText, scoresPrompt } = this.#options;
    const promptLogprobs: readonly PromptLogprob[] | undefined = scoresPrompt
      ? this.#scores.list()
      : undefined;
    this.#queue.start({
      type: 'start',
      promptTokens: prompt.length,
      ...(promptText !== undefined && { promptText }),
      ...(promptLogprobs && { promptLogprobs }),
    });
  }

  /** Takes more text. Returns whether a stop string ended it. */
  #take(piece: string): boolean {
    this.#known += piece.length;
    const { text, stop } = this.#stop.push(piece);
    this.#found = stop;
    this.#send(text, this.#sent + text.length);
    return stop !== undefined;
  }

  /** Sends text, with the entries of all tokens that start before `limit`. */
  #send(text: string, limit: number): void {
    this.#sent += text.length;
    const count = this.#pending.findIndex((pending) => pending.start >= limit);
    const ready = this.#pending.splice(0, count < 0 ? this.#pending.length : count);
    if (text === '' && ready.length === 0) return;
    const logprobs = ready.map((pending) => pending.entry);
    this.#queue.pushDelta({ type: 'delta', text, ...(logprobs.length > 0 && { logprobs }) });
  }

  #usage(): Usage {
    return {
      promptTokens: this.#options.prompt.length,
      completionTokens: this.#tokens,
      cachedTokens: this.#cachedTokens,
    };
  }
}
