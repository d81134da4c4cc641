import { z } from '@hono/zod-openapi';

/** Bounds on what one request may ask for; each is named in the error it causes. */
export const requestLimits = {
  /** Continuations of one request: prompts times `n`. */
  maxChoices: 64,
  maxStopStrings: 16,
  maxStopLength: 1024,
  maxTopLogprobs: 20,
  maxMessages: 4096,
} as const;

const maxPriority = 2 ** 31 - 1;
const maxSeed = Number.MAX_SAFE_INTEGER;

/** Fields that chat and text completions share. Loose: unknown fields pass. */
export const commonFields = {
  model: z.string().min(1).max(512).nullish().describe('A name from GET /v1/models; default: the only one'),
  stream: z.boolean().nullish().describe('Answer as server-sent events'),
  stream_options: z
    .looseObject({
      include_usage: z.boolean().nullish().describe('Send the usage in one more chunk at the end'),
    })
    .nullish(),
  temperature: z.number().min(0).max(2).nullish().describe('0 = always the most likely token'),
  top_p: z
    .number()
    .gt(0)
    .max(1)
    .nullish()
    .describe('Keep the most likely tokens that sum to this probability'),
  top_k: z
    .int()
    .min(-1)
    .max(1_000_000)
    .nullish()
    .describe('Keep this many most likely tokens; 0 or -1 = all'),
  min_p: z
    .number()
    .min(0)
    .max(1)
    .nullish()
    .describe('Keep tokens at least this fraction as likely as the best'),
  n: z.int().min(1).max(requestLimits.maxChoices).nullish().describe('Continuations of each prompt'),
  seed: z
    .int()
    .min(-maxSeed)
    .max(maxSeed)
    .nullish()
    .describe('Same seed, same text; the i-th choice uses seed + i'),
  stop: z
    .union([
      z.string().min(1).max(requestLimits.maxStopLength),
      z.array(z.string().min(1).max(requestLimits.maxStopLength)).max(requestLimits.maxStopStrings),
    ])
    .nullish()
    .describe('The text ends before the first of these'),
  priority: z
    .int()
    .min(-maxPriority)
    .max(maxPriority)
    .nullish()
    .describe('Requests with a lower value are served first; default 0'),
  ignore_eos: z.boolean().nullish().describe('Go on past the end-of-text token'),
} as const;

/** The shared fields of a parsed request. */
export interface CommonRequest {
  readonly model?: string | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { readonly include_usage?: boolean | null | undefined } | null | undefined;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly top_k?: number | null | undefined;
  readonly min_p?: number | null | undefined;
  readonly n?: number | null | undefined;
  readonly seed?: number | null | undefined;
  readonly stop?: string | readonly string[] | null | undefined;
  readonly priority?: number | null | undefined;
  readonly ignore_eos?: boolean | null | undefined;
}
