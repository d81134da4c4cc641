import type { ChatMessage, GenerateRequest, Prompt, SamplingRequest } from '../backend.js';
import { badRequest } from '../errors.js';
import type { ChatCompletionRequest } from './chat-request.js';
import { type CommonRequest, requestLimits } from './common-request.js';
import type { CompletionRequest } from './completion-request.js';

/** What the requests of one HTTP request have in common. */
export interface RequestContext {
  readonly requestId: string;
  readonly model: string;
  /** Whose request it is. */
  readonly tenant?: GenerateRequest['tenant'] | undefined;
}

/** What every generation of one HTTP request carries: its sender and its urgency. */
export function scheduling(
  { priority }: { readonly priority?: number | null | undefined },
  { tenant }: RequestContext,
): Pick<GenerateRequest, 'tenant' | 'priority'> {
  return {
    ...(tenant !== undefined && { tenant }),
    // Lower is earlier for clients, as vLLM has it; for engines higher is. No negative zero.
    ...(typeof priority === 'number' && { priority: 0 - priority }),
  };
}

/** The generations that a chat request asks for, one per choice. */
export function chatGenerations(body: ChatCompletionRequest, context: RequestContext): GenerateRequest[] {
  if ((body.top_logprobs ?? 0) > 0 && body.logprobs !== true) {
    throw badRequest({
      param: 'top_logprobs',
      message: 'top_logprobs needs logprobs',
      remedy: 'set logprobs to true',
      value: body.top_logprobs,
    });
  }
  const prompt: Prompt = { type: 'chat', messages: body.messages.map(toMessage) };
  const maxTokens = body.max_completion_tokens ?? body.max_tokens;
  const logprobs = body.logprobs === true ? (body.top_logprobs ?? 0) : undefined;
  return generations([prompt], body, context, { maxTokens, logprobs });
}

/** The generations that a text completion asks for, `n` per prompt, prompts in order. */
export function completionGenerations(body: CompletionRequest, context: RequestContext): GenerateRequest[] {
  const n = body.n ?? 1;
  if (body.best_of !== undefined && body.best_of !== null && body.best_of !== n) {
    throw badRequest({
      param: 'best_of',
      message: `expected best_of to equal n (${n}), got ${body.best_of}`,
      remedy: 'leave best_of out and choose among n continuations yourself',
      value: body.best_of,
    });
  }
  return generations(toPrompts(body.prompt), body, context, {
    maxTokens: body.max_completion_tokens ?? body.max_tokens,
    logprobs: body.logprobs ?? undefined,
    echo: body.echo === true,
  });
}

interface Rest {
  readonly maxTokens: number | null | undefined;
  readonly logprobs: number | undefined;
  readonly echo?: boolean;
}

function generations(
  prompts: readonly Prompt[],
  body: CommonRequest,
  context: RequestContext,
  rest: Rest,
): GenerateRequest[] {
  const n = body.n ?? 1;
  if (prompts.length * n > requestLimits.maxChoices) {
    throw badRequest({
      param: 'n',
      message: `${prompts.length} prompts times n = ${n} make ${prompts.length * n} choices, at most ${requestLimits.maxChoices} are allowed`,
      remedy: 'send fewer prompts, or a smaller n',
      value: prompts.length * n,
    });
  }
  if (body.stream_options && body.stream !== true) {
    throw badRequest({
      param: 'stream_options',
      message: 'stream_options is for streams only',
      remedy: 'set stream to true, or leave stream_options out',
    });
  }
  const stop = typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []);
  const sampling = toSampling(body);
  const all: GenerateRequest[] = [];
  for (const prompt of prompts) {
    for (let choice = 0; choice < n; choice++) {
      all.push({
        requestId: `${context.requestId}-${all.length}`,
        model: context.model,
        prompt,
        sampling,
        stop,
        ...(typeof rest.maxTokens === 'number' && { maxTokens: rest.maxTokens }),
        ...(typeof body.seed === 'number' && { seed: body.seed + choice }),
        ...(rest.logprobs !== undefined && { logprobs: rest.logprobs }),
        ...(rest.echo && { echo: true }),
        ...(body.ignore_eos === true && { ignoreEos: true }),
        ...scheduling(body, context),
      });
    }
  }
  return all;
}

function toSampling(body: CommonRequest): SamplingRequest {
  return {
    ...(typeof body.temperature === 'number' && { temperature: body.temperature }),
    ...(typeof body.top_p === 'number' && { topP: body.top_p }),
    ...(typeof body.top_k === 'number' && { topK: Math.max(0, body.top_k) }),
    ...(typeof body.min_p === 'number' && { minP: body.min_p }),
  };
}

function toMessage(message: ChatCompletionRequest['messages'][number]): ChatMessage {
  const { content } = message;
  const text = Array.isArray(content) ? content.map((part) => part.text).join('') : (content ?? '');
  return { ...message, content: text };
}

function toPrompts(prompt: CompletionRequest['prompt']): Prompt[] {
  if (typeof prompt === 'string') return [{ type: 'text', text: prompt }];
  if (isTokenIds(prompt)) return [{ type: 'tokens', ids: Int32Array.from(prompt) }];
  return prompt.map((item) =>
    typeof item === 'string' ? { type: 'text', text: item } : { type: 'tokens', ids: Int32Array.from(item) },
  );
}

function isTokenIds(prompt: readonly (string | number | number[])[]): prompt is number[] {
  return typeof prompt[0] === 'number';
}
