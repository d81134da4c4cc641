import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadModel } from '@moestack/model';
import { afterAll, describe, expect, it } from 'vitest';
import { exportModel, Trainer } from '../src/index.js';
import { syntheticBatch, tinyConfig } from './tiny-config.js';

const root = mkdtempSync(join(tmpdir(), 'moestack-export-'));
afterAll(() => rmSync(root, { recursive: true }));

const config = tinyConfig({ steps: 30, batchSequences: 4, contextTokens: 16 });
const trainer = new Trainer(config);
for (let step = 0; step < config.steps; step++) trainer.step(syntheticBatch(config, step, 0), false);
const batch = syntheticBatch(config, 99, 0);

async function difference(format: 'f32' | 'bf16' | 'fp8'): Promise<number> {
  const directory = join(root, format);
  await exportModel(trainer, directory, { format });
  const model = await loadModel(directory);
  const expected = trainer.logits(batch);
  const { vocabularySize } = config.model;
  let largest = 0;
  for (let s = 0; s < config.batchSequences; s++) {
    const start = s * (config.contextTokens + 1);
    const logits = await model.logits(batch.slice(start, start + config.contextTokens));
    const offset = s * config.contextTokens * vocabularySize;
    logits.forEach((z, i) => {
      largest = Math.max(largest, Math.abs(z - expected[offset + i]!));
    });
  }
  const generated = await model.generate(batch.slice(0, 4), { maxTokens: 6 });
  expect(generated).toHaveLength(6);
  await model.close();
  return largest;
}

describe('exportModel', () => {
  it('writes what the model package computes the same logits from', async () => {
    expect(await difference('f32')).toBeLessThan(2e-5);
  });

  it('differs by the rounding of weights in bfloat16 and FP8', async () => {
    const bf16 = await difference('bf16');
    expect(bf16).toBeGreaterThan(0);
    expect(bf16).toBeLessThan(0.15);
    expect(await difference('fp8')).toBeLessThan(0.5);
  });
});
