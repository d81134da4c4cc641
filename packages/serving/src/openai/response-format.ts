import type { BackendEvent, Usage } from '../backend.js';
import type { AnswerHead } from './answer-format.js';
import type { ResponseRequest } from './response-request.js';
import type { ErrorBody } from './responses.js';

type Finish = Extract<BackendEvent, { type: 'finish' }>;

/** An event of a streamed response; its `type` is also the name of the event. */
export interface ResponseEvent {
  readonly type: string;
  readonly sequence_number: number;
  readonly [field: string]: unknown;
}

/** Bodies and events of `POST /v1/responses`: one message of one text. Holds the state of one answer. */
export class ResponseFormat {
  readonly #head: AnswerHead;
  readonly #request: ResponseRequest;
  readonly #itemId: string;
  #sequence = 0;
  #text = '';

  constructor(head: AnswerHead, request: ResponseRequest) {
    this.#head = head;
    this.#request = request;
    this.#itemId = head.id.replace(/^resp/, 'msg');
  }

  /** The events that begin a stream. */
  start(): ResponseEvent[] {
    const response = this.#response('in_progress');
    return [
      this.#event('response.created', { response }),
      this.#event('response.in_progress', { response }),
      this.#event('response.output_item.added', { output_index: 0, item: this.#item('in_progress') }),
      this.#part('response.content_part.added', { part: this.#content('') }),
    ];
  }

  delta(text: string): ResponseEvent {
    this.#text += text;
    return this.#part('response.output_text.delta', { delta: text, logprobs: [] });
  }

  /** The events that end a stream. */
  finish(finish: Finish): ResponseEvent[] {
    const response = this.whole(this.#text, finish);
    return [
      this.#part('response.output_text.done', { text: this.#text, logprobs: [] }),
      this.#part('response.content_part.done', { part: this.#content(this.#text) }),
      this.#event('response.output_item.done', { output_index: 0, item: this.#item(response.status) }),
      this.#event(`response.${response.status}`, { response }),
    ];
  }

  /** The event that ends a stream which failed. */
  failure({ error }: ErrorBody): ResponseEvent {
    const response = { ...this.#response('failed'), error: { code: error.code, message: error.message } };
    return this.#event('response.failed', { response });
  }

  /** The answer without `stream`. */
  whole(text: string, finish: Finish): { status: string } & Record<string, unknown> {
    this.#text = text;
    const isCut = finish.reason === 'length';
    const status = isCut ? 'incomplete' : 'completed';
    return {
      ...this.#response(status),
      incomplete_details: isCut ? { reason: 'max_output_tokens' } : null,
      output: [this.#item(status)],
      usage: usageBody(finish.usage),
    };
  }

  #event(type: string, fields: Record<string, unknown>): ResponseEvent {
    return { type, sequence_number: this.#sequence++, ...fields };
  }

  #part(type: string, fields: Record<string, unknown>): ResponseEvent {
    return this.#event(type, { item_id: this.#itemId, output_index: 0, content_index: 0, ...fields });
  }

  #content(text: string): Record<string, unknown> {
    return { type: 'output_text', text, annotations: [], logprobs: [] };
  }

  #item(status: string): Record<string, unknown> {
    const content = status === 'in_progress' ? [] : [this.#content(this.#text)];
    return { id: this.#itemId, type: 'message', status, role: 'assistant', content };
  }

  #response(status: string): { status: string } & Record<string, unknown> {
    const request = this.#request;
    return {
      id: this.#head.id,
      object: 'response',
      created_at: this.#head.created,
      status,
      background: false,
      error: null,
      incomplete_details: null,
      instructions: request.instructions ?? null,
      max_output_tokens: request.max_output_tokens ?? null,
      metadata: request.metadata ?? {},
      model: this.#head.model,
      output: [],
      parallel_tool_calls: false,
      previous_response_id: null,
      reasoning: { effort: null, summary: null },
      store: false,
      temperature: request.temperature ?? null,
      text: { format: { type: 'text' } },
      tool_choice: 'auto',
      tools: [],
      top_p: request.top_p ?? null,
      truncation: 'disabled',
      usage: null,
      user: request.user ?? null,
    };
  }
}

function usageBody(usage: Usage): Record<string, unknown> {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: usage.promptTokens + usage.completionTokens,
  };
}
