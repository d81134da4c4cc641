import { z } from '@hono/zod-openapi';
import { commonFields, requestLimits } from './common-request.js';

const TokenIds = z.array(z.int().min(0).max(0x7fffffff)).min(1);

/** Body of `POST /v1/completions`. */
export const CompletionRequest = z
  .looseObject({
    prompt: z
      .union(
        [
          z.string(),
          TokenIds,
          z.array(z.string()).min(1).max(requestLimits.maxChoices),
          z.array(TokenIds).min(1).max(requestLimits.maxChoices),
        ],
        {
          error: `expected a string, a list of at most ${requestLimits.maxChoices} strings, token ids, or a list of at most ${requestLimits.maxChoices} lists of token ids`,
        },
      )
      .describe('What to continue: text, texts, token ids, or lists of token ids'),
    ...commonFields,
    max_tokens: z.int().min(0).nullish().describe('Most new tokens'),
    max_completion_tokens: z.int().min(0).nullish().describe('The same; it wins'),
    logprobs: z
      .int()
      .min(0)
      .max(requestLimits.maxTopLogprobs)
      .nullish()
      .describe("Report the tokens' log-probabilities and this many alternatives"),
    echo: z.boolean().nullish().describe('Put the prompt before the continuation'),
    best_of: z.int().min(1).max(requestLimits.maxChoices).nullish().describe('Only the value of n'),
  })
  .openapi('CompletionRequest');
export type CompletionRequest = z.infer<typeof CompletionRequest>;
