import { z } from 'zod';
import { ModelError } from './errors.js';
import { readOptionalJson } from './model-files.js';

/** The fields of a Hugging Face `generation_config.json` that serving uses; unknown fields pass through. */
export const GenerationConfig = z.looseObject({
  do_sample: z.boolean().nullish(),
  temperature: z.number().nonnegative().nullish(),
  top_p: z.number().nullish(),
  top_k: z.int().nullish(),
  min_p: z.number().nullish(),
  max_new_tokens: z.int().positive().nullish(),
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
});
export type GenerationConfig = z.infer<typeof GenerationConfig>;

/** Reads `generation_config.json` of a model directory; an empty object where there is none. */
export async function readGenerationConfig(path: string): Promise<GenerationConfig> {
  const json = await readOptionalJson(path, 'generation_config.json', 'model/bad-config');
  const parsed = GenerationConfig.safeParse(json ?? {});
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ModelError({
    code: 'model/bad-config',
    message: `generation_config.json: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'malformed'}`,
    value: issue?.path.join('.'),
    remedy: 'correct the file or remove it',
  });
}
