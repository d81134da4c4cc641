import { existsSync, readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tinyMoe } from './index.js';

describe('tinyMoe', () => {
  it('names a complete checkpoint directory', () => {
    for (const file of ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']) {
      expect(existsSync(new URL(file, tinyMoe)), file).toBe(true);
    }
    expect(statSync(new URL('model.safetensors', tinyMoe)).size).toBe(3_250_240);
    expect(JSON.parse(readFileSync(new URL('config.json', tinyMoe), 'utf8')).architectures).toEqual([
      'DeepseekV3ForCausalLM',
    ]);
  });
});
