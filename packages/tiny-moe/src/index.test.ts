import { existsSync, readFileSync, statSync } from 'node:fs';
import { TrainConfig, TrainEvent } from '@moestack/schemas';
import { describe, expect, it } from 'vitest';
import { tinyMoe, tinyMoeEarly } from './index.js';

const read = (name: string, of: URL): string => readFileSync(new URL(name, of), 'utf8');

describe.each([
  ['tinyMoe', tinyMoe],
  ['tinyMoeEarly', tinyMoeEarly],
])('%s', (_, directory) => {
  it('names a complete checkpoint directory', () => {
    for (const file of ['config.json', 'generation_config.json', 'tokenizer.json', 'tokenizer_config.json']) {
      expect(existsSync(new URL(file, directory)), file).toBe(true);
    }
    expect(statSync(new URL('model.safetensors', directory)).size).toBeLessThan(5e6);
    expect(JSON.parse(read('config.json', directory))).toMatchObject({
      architectures: ['DeepseekV3ForCausalLM'],
      max_position_embeddings: 512,
    });
  });
});

describe('the two checkpoints', () => {
  it('share architecture and tokenizer, not weights', () => {
    for (const file of ['config.json', 'tokenizer.json'])
      expect(read(file, tinyMoeEarly)).toBe(read(file, tinyMoe));
    expect(read('model.safetensors', tinyMoeEarly)).not.toBe(read('model.safetensors', tinyMoe));
  });

  it('come from the run whose configuration and log are kept', () => {
    const folder = new URL('../training/', import.meta.url);
    const configs = new URL('../../training/configs/', import.meta.url);
    const config = TrainConfig.parse(JSON.parse(read('default.json', configs)));
    const events = read('log.jsonl', folder)
      .trim()
      .split('\n')
      .map((line) => TrainEvent.parse(JSON.parse(line)));
    const steps = events.filter((event) => event.type === 'step');
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: config.steps }, (_, i) => i + 1));
    expect(steps.at(-1)!.tokens).toBeGreaterThan(10e6);
    expect(config.checkpoint.milestones).toContain(2000);
    // Balanced without an auxiliary loss: the mean over the last hundred batches, in every layer.
    const last = steps.slice(-100);
    for (let layer = 0; layer < 3; layer++) {
      const mean = last.reduce((sum, { maxVio }) => sum + maxVio[layer]!, 0) / last.length;
      expect(mean).toBeLessThan(0.5);
    }
  });
});
