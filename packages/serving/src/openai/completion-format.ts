import type { BackendEvent, PromptLogprob, TokenLogprob } from '../backend.js';
import type { Collected } from '../gateway/generations.js';
import type { AnswerFormat, AnswerHead } from './answer-format.js';
import { completionLogprobs } from './format.js';
import type { Completion, CompletionLogprobs, UsageBody } from './responses.js';

type Choice = Completion['choices'][number];

/** Bodies of `POST /v1/completions`. */
export class CompletionFormat implements AnswerFormat {
  readonly #head: AnswerHead;
  readonly #logprobs: boolean;
  /** Where the next token of each choice starts in its text. */
  readonly #offsets: number[] = [];

  constructor(head: AnswerHead, options: { logprobs: boolean }) {
    this.#head = head;
    this.#logprobs = options.logprobs;
  }

  whole(choices: readonly Collected[], usage: UsageBody): Completion {
    return {
      ...this.#body(
        choices.map((choice, index) => ({
          index,
          text: (choice.start.promptText ?? '') + choice.text,
          logprobs: this.#take(index, [...(choice.start.promptLogprobs ?? []), ...choice.logprobs]),
          finish_reason: choice.finish.reason,
        })),
      ),
      usage,
    };
  }

  frame(index: number, event: BackendEvent): Completion | undefined {
    if (event.type === 'finish') {
      return this.#body([{ index, text: '', logprobs: null, finish_reason: event.reason }]);
    }
    if (event.type === 'delta') {
      const logprobs = this.#take(index, event.logprobs ?? []);
      return this.#body([{ index, text: event.text, logprobs, finish_reason: null }]);
    }
    if (event.promptText === undefined) return undefined;
    const logprobs = this.#take(index, event.promptLogprobs ?? []);
    return this.#body([{ index, text: event.promptText, logprobs, finish_reason: null }]);
  }

  usage(usage: UsageBody): Completion {
    return { ...this.#body([]), usage };
  }

  #take(index: number, logprobs: readonly (TokenLogprob | PromptLogprob)[]): CompletionLogprobs | null {
    if (!this.#logprobs) return null;
    const { body, offset } = completionLogprobs(logprobs, this.#offsets[index] ?? 0);
    this.#offsets[index] = offset;
    return body;
  }

  #body(choices: Choice[]): Completion {
    return { ...this.#head, object: 'text_completion', choices };
  }
}
