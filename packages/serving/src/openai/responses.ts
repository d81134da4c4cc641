import { z } from '@hono/zod-openapi';
import { FinishReason } from '@moestack/schemas';

/** Token counts of an answer. */
export const UsageBody = z
  .object({
    prompt_tokens: z.int(),
    completion_tokens: z.int(),
    total_tokens: z.int(),
    prompt_tokens_details: z.object({ cached_tokens: z.int() }),
  })
  .openapi('Usage');
export type UsageBody = z.infer<typeof UsageBody>;

const TokenBody = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()) });

/** Log-probabilities in the format of chat completions. */
export const ChatLogprobs = z
  .object({ content: z.array(TokenBody.extend({ top_logprobs: z.array(TokenBody) })) })
  .openapi('ChatLogprobs');
export type ChatLogprobs = z.infer<typeof ChatLogprobs>;

/** Log-probabilities in the format of text completions. */
export const CompletionLogprobs = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
    text_offset: z.array(z.int()),
  })
  .openapi('CompletionLogprobs');
export type CompletionLogprobs = z.infer<typeof CompletionLogprobs>;

const head = { id: z.string(), created: z.int(), model: z.string() };

/** Answer of `POST /v1/chat/completions` without `stream`. */
export const ChatCompletion = z
  .object({
    ...head,
    object: z.literal('chat.completion'),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.object({ role: z.literal('assistant'), content: z.string(), refusal: z.null() }),
        logprobs: ChatLogprobs.nullable(),
        finish_reason: FinishReason,
      }),
    ),
    usage: UsageBody,
  })
  .openapi('ChatCompletion');
export type ChatCompletion = z.infer<typeof ChatCompletion>;

/** One frame of a streamed chat completion. */
export const ChatCompletionChunk = z
  .object({
    ...head,
    object: z.literal('chat.completion.chunk'),
    choices: z.array(
      z.object({
        index: z.int(),
        delta: z.object({ role: z.literal('assistant').optional(), content: z.string().optional() }),
        logprobs: ChatLogprobs.nullable(),
        finish_reason: FinishReason.nullable(),
      }),
    ),
    usage: UsageBody.nullable().optional(),
  })
  .openapi('ChatCompletionChunk');
export type ChatCompletionChunk = z.infer<typeof ChatCompletionChunk>;

/** Answer of `POST /v1/completions`, and with `finish_reason` null one frame of its stream. */
export const Completion = z
  .object({
    ...head,
    object: z.literal('text_completion'),
    choices: z.array(
      z.object({
        index: z.int(),
        text: z.string(),
        logprobs: CompletionLogprobs.nullable(),
        finish_reason: FinishReason.nullable(),
      }),
    ),
    usage: UsageBody.nullable().optional(),
  })
  .openapi('Completion');
export type Completion = z.infer<typeof Completion>;

/** A served model. */
export const ModelBody = z
  .object({
    id: z.string(),
    object: z.literal('model'),
    created: z.int(),
    owned_by: z.string(),
    max_model_len: z.int().optional(),
  })
  .openapi('Model');
export type ModelBody = z.infer<typeof ModelBody>;

/** Answer of `GET /v1/models`. */
export const ModelList = z
  .object({ object: z.literal('list'), data: z.array(ModelBody) })
  .openapi('ModelList');
export type ModelList = z.infer<typeof ModelList>;

/** Every error, whatever its cause. */
export const ErrorBody = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string(),
    }),
  })
  .openapi('Error');
export type ErrorBody = z.infer<typeof ErrorBody>;

/** Answer of `GET /health`. */
export const HealthBody = z
  .object({ status: z.enum(['ok', 'draining', 'failed']), detail: z.string().optional() })
  .openapi('Health');
export type HealthBody = z.infer<typeof HealthBody>;
