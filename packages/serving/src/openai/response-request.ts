import { z } from '@hono/zod-openapi';
import type { ChatMessage, GenerateRequest } from '../backend.js';
import { badRequest } from '../errors.js';
import { commonFields, requestLimits } from './common-request.js';
import { type RequestContext, scheduling } from './to-generate.js';

const TextPart = z.looseObject({
  type: z.enum(['input_text', 'output_text', 'text']),
  text: z.string(),
});

const InputMessage = z.looseObject({
  type: z.literal('message').optional(),
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content: z.union([z.string(), z.array(TextPart).max(requestLimits.maxMessages)], {
    error: 'expected a string or a list of text parts: this model reads text only',
  }),
});

/** Body of `POST /v1/responses`. */
export const ResponseRequest = z
  .looseObject({
    model: z.string().min(1).max(512).nullish().describe('A name from GET /v1/models; default: the only one'),
    input: z
      .union([z.string(), z.array(InputMessage).min(1).max(requestLimits.maxMessages)], {
        error: 'expected a text or a list of messages',
      })
      .describe('What to answer; the whole conversation, since nothing is stored here'),
    instructions: z.string().nullish().describe('A system message before the input'),
    max_output_tokens: z.int().min(1).nullish(),
    temperature: z.number().min(0).max(2).nullish(),
    top_p: z.number().gt(0).max(1).nullish(),
    stream: z.boolean().nullish(),
    priority: commonFields.priority,
    metadata: z.record(z.string(), z.string()).nullish(),
    user: z.string().nullish(),
  })
  .openapi('ResponseRequest');
export type ResponseRequest = z.infer<typeof ResponseRequest>;

const isSet = (value: unknown): boolean => value !== undefined && value !== null;

/** Fields that would change the answer or the state of the server if they worked. */
const unsupported: readonly (readonly [
  field: string,
  asksForIt: (value: unknown) => boolean,
  remedy?: string,
])[] = [
  ['previous_response_id', isSet, 'send the whole conversation as input: nothing is stored here'],
  ['conversation', isSet, 'send the whole conversation as input: nothing is stored here'],
  ['prompt', isSet],
  ['background', (value) => value === true],
  ['tools', (value) => isSet(value) && !(Array.isArray(value) && value.length === 0)],
  ['tool_choice', (value) => isSet(value) && value !== 'none' && value !== 'auto'],
  ['top_logprobs', (value) => isSet(value) && value !== 0, 'use /v1/chat/completions for log-probabilities'],
  [
    'include',
    (value) => Array.isArray(value) && value.includes('message.output_text.logprobs'),
    'use /v1/chat/completions for log-probabilities',
  ],
  [
    'text',
    (value) => {
      const format = (value as { format?: { type?: unknown } } | null | undefined)?.format;
      return isSet(format) && format?.type !== 'text';
    },
  ],
  ['truncation', (value) => isSet(value) && value !== 'disabled'],
];

/**
 * Refuses fields that this server cannot honour.
 *
 * @throws {@link ServingError} with status 400 naming the field.
 */
export function refuseUnsupportedResponse(body: Readonly<Record<string, unknown>>): void {
  for (const [field, asksForIt, remedy] of unsupported) {
    if (!asksForIt(body[field])) continue;
    throw badRequest({
      param: field,
      message: `${field} is not supported by this server`,
      remedy: remedy ?? `leave ${field} out`,
    });
  }
}

/** The generation that a request asks for. */
export function responseGeneration(body: ResponseRequest, context: RequestContext): GenerateRequest {
  const messages: ChatMessage[] = [];
  if (typeof body.instructions === 'string') messages.push({ role: 'system', content: body.instructions });
  if (typeof body.input === 'string') messages.push({ role: 'user', content: body.input });
  else {
    for (const { role, content } of body.input) {
      const text = typeof content === 'string' ? content : content.map((part) => part.text).join('');
      messages.push({ role, content: text });
    }
  }
  return {
    requestId: `${context.requestId}-0`,
    model: context.model,
    prompt: { type: 'chat', messages },
    sampling: {
      ...(typeof body.temperature === 'number' && { temperature: body.temperature }),
      ...(typeof body.top_p === 'number' && { topP: body.top_p }),
    },
    stop: [],
    ...scheduling(body, context),
    ...(typeof body.max_output_tokens === 'number' && { maxTokens: body.max_output_tokens }),
  };
}
