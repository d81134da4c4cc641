import { z } from '@hono/zod-openapi';
import { commonFields, requestLimits } from './common-request.js';

const TextPart = z.looseObject({ type: z.literal('text'), text: z.string() });

const Message = z.looseObject({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool', 'function']),
  content: z
    .union([z.string(), z.array(TextPart).max(requestLimits.maxMessages)], {
      error: 'expected a string or a list of {"type":"text","text":...} parts: this model reads text only',
    })
    .nullish(),
});

/** Body of `POST /v1/chat/completions`. */
export const ChatCompletionRequest = z
  .looseObject({
    messages: z.array(Message).min(1).max(requestLimits.maxMessages),
    ...commonFields,
    max_tokens: z.int().min(1).nullish().describe('Most new tokens'),
    max_completion_tokens: z.int().min(1).nullish().describe('The newer name of max_tokens; it wins'),
    logprobs: z.boolean().nullish().describe("Report the tokens' log-probabilities"),
    top_logprobs: z
      .int()
      .min(0)
      .max(requestLimits.maxTopLogprobs)
      .nullish()
      .describe('Alternatives per token'),
  })
  .openapi('ChatCompletionRequest');
export type ChatCompletionRequest = z.infer<typeof ChatCompletionRequest>;
