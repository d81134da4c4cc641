import { z } from 'zod';

/** Token counts of one finished generation. */
export const TokenUsage = z.strictObject({
  promptTokens: z.int().min(0),
  completionTokens: z.int().min(0),
  cachedTokens: z.int().min(0).describe('prompt tokens whose KV was found in a cache'),
});
export type TokenUsage = z.infer<typeof TokenUsage>;

/** Why a generation ended: a stop string or EOS, or its token limit. */
export const FinishReason = z.enum(['stop', 'length']);
export type FinishReason = z.infer<typeof FinishReason>;
