import { GenerationConfig } from '@moestack/schemas';
import { ModelError } from './errors.js';
import { readOptionalJson } from './model-files.js';

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
