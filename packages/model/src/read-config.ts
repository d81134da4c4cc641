import { join } from 'node:path';
import { type DeepseekConfig, parseConfig } from './config.js';
import { missingFile, readOptionalJson } from './model-files.js';

/** Reads and checks the configuration in a model directory. */
export async function readConfig(path: string, name = 'config.json'): Promise<DeepseekConfig> {
  const json = await readOptionalJson(path, name, 'model/bad-config');
  if (json === undefined) {
    throw missingFile(
      join(path, name),
      'pass a directory in Hugging Face layout: config.json beside model.safetensors',
    );
  }
  return parseConfig(json);
}
