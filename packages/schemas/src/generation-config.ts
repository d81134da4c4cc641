import { z } from 'zod';

/**
 * Hugging Face `generation_config.json`: sampling defaults that ship with a checkpoint.
 * Loose: unknown keys of other libraries pass through.
 */
export const GenerationConfig = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: z.number().min(0).nullish(),
  top_k: z.int().min(0).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  max_new_tokens: z.int().positive().nullish(),
  eos_token_id: z.union([z.int().min(0), z.array(z.int().min(0)).max(64)]).nullish(),
});
export type GenerationConfig = z.infer<typeof GenerationConfig>;
