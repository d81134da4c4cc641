import type { Tokenizer, TokenLogprobs } from '@moestack/model';
import type { PromptLogprob } from '../backend.js';
import { tokenProbability, topOf } from './token-logprob.js';

/** Collects the log-probabilities of a prompt's tokens, which come chunk by chunk, after a preemption twice. */
export class PromptScores {
  readonly #tokenizer: Tokenizer;
  readonly #prompt: Int32Array;
  readonly #scores: (TokenLogprobs | undefined)[] = [];

  constructor(tokenizer: Tokenizer, prompt: Int32Array) {
    this.#tokenizer = tokenizer;
    this.#prompt = prompt;
  }

  set(position: number, logprobs: TokenLogprobs): void {
    this.#scores[position] = logprobs;
  }

  /** One entry per prompt token; the first has no prediction. */
  list(): PromptLogprob[] {
    return Array.from(this.#prompt, (id, position) => {
      const score = this.#scores[position];
      const entry = tokenProbability(this.#tokenizer, id, score?.logprob ?? 0);
      if (score === undefined) return { ...entry, logprob: null, top: [] };
      return { ...entry, top: topOf(this.#tokenizer, score) };
    });
  }
}
