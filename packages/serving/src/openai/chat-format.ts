import type { BackendEvent } from '../backend.js';
import type { Collected } from '../gateway/generations.js';
import type { AnswerFormat, AnswerHead } from './answer-format.js';
import { chatLogprobs } from './format.js';
import type { ChatCompletion, ChatCompletionChunk, UsageBody } from './responses.js';

type Choice = ChatCompletionChunk['choices'][number];

/** Bodies of `POST /v1/chat/completions`. */
export class ChatFormat implements AnswerFormat {
  readonly #head: AnswerHead;
  readonly #logprobs: boolean;

  constructor(head: AnswerHead, options: { logprobs: boolean }) {
    this.#head = head;
    this.#logprobs = options.logprobs;
  }

  whole(choices: readonly Collected[], usage: UsageBody): ChatCompletion {
    return {
      ...this.#head,
      object: 'chat.completion',
      choices: choices.map((choice, index) => ({
        index,
        message: { role: 'assistant', content: choice.text, refusal: null },
        logprobs: this.#logprobs ? chatLogprobs(choice.logprobs) : null,
        finish_reason: choice.finish.reason,
      })),
      usage,
    };
  }

  frame(index: number, event: BackendEvent): ChatCompletionChunk {
    return this.#chunk([this.#choice(index, event)]);
  }

  usage(usage: UsageBody): ChatCompletionChunk {
    return { ...this.#chunk([]), usage };
  }

  #choice(index: number, event: BackendEvent): Choice {
    if (event.type === 'start') {
      return { index, delta: { role: 'assistant', content: '' }, logprobs: null, finish_reason: null };
    }
    if (event.type === 'finish') return { index, delta: {}, logprobs: null, finish_reason: event.reason };
    const logprobs = this.#logprobs ? chatLogprobs(event.logprobs ?? []) : null;
    return { index, delta: { content: event.text }, logprobs, finish_reason: null };
  }

  #chunk(choices: Choice[]): ChatCompletionChunk {
    return { ...this.#head, object: 'chat.completion.chunk', choices };
  }
}
