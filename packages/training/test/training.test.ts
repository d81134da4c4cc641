import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrainConfig, TrainEvent } from '@moestack/schemas';
import { afterAll, describe, expect, it } from 'vitest';
import { readCheckpoint, type TokenSource, Trainer, TrainingError, train } from '../src/index.js';
import { syntheticBatch, tinyConfig } from './tiny-config.js';

const root = mkdtempSync(join(tmpdir(), 'moestack-training-'));
afterAll(() => rmSync(root, { recursive: true }));

/** Rows and columns beyond one tile of 128, and a ragged rest. */
const wide = {
  hiddenSize: 144,
  layers: 2,
  heads: 4,
  queryRank: 48,
  keyValueRank: 32,
  nopeDims: 32,
  ropeDims: 16,
  valueDims: 32,
  denseWidth: 160,
  expertWidth: 64,
  routedScalingFactor: 1,
};

function learnable(recipe: string): TrainConfig {
  return tinyConfig({ recipe, model: wide, steps: 40, batchSequences: 6, contextTokens: 24 });
}

function sourceOf(config: TrainConfig): TokenSource {
  return { batch: (step, rank) => syntheticBatch(config, step, rank) };
}

function losses(config: TrainConfig): number[] {
  const trainer = new Trainer(config);
  const out: number[] = [];
  for (let step = 0; step < config.steps; step++) {
    out.push(trainer.step(syntheticBatch(config, step, 0), false).loss);
  }
  return out;
}

const mean = (values: readonly number[]): number => values.reduce((sum, v) => sum + v, 0) / values.length;

async function run(
  config: TrainConfig,
  directory: string,
  stopAfter = Number.POSITIVE_INFINITY,
): Promise<{ steps: (TrainEvent & { type: 'step' })[]; events: TrainEvent[] }> {
  const events: TrainEvent[] = [];
  const controller = new AbortController();
  await train(config, {
    directory,
    source: sourceOf(config),
    signal: controller.signal,
    onEvent: (event) => {
      events.push(event);
      if (event.type === 'step' && event.step === stopAfter) controller.abort();
    },
  });
  return { events, steps: events.filter((event) => event.type === 'step') };
}

describe('training', () => {
  it('lowers the loss, in bfloat16 and FP8 alike', () => {
    const bf16 = losses(learnable('bf16'));
    expect(bf16[0]).toBeGreaterThan(Math.log(37) * 0.95);
    expect(mean(bf16.slice(-5))).toBeLessThan(bf16[0]! * 0.6);
    for (const recipe of ['deepseek-v3', 'hybrid', 'current']) {
      const fp8 = losses(learnable(recipe));
      expect(fp8).not.toEqual(bf16);
      const error = Math.abs(mean(fp8.slice(-10)) / mean(bf16.slice(-10)) - 1);
      expect(error, recipe).toBeLessThan(0.05);
    }
  });

  it('gives the same bits for the same seed, and others for another', () => {
    const config = tinyConfig({ recipe: 'deepseek-v3', steps: 4 });
    expect(losses(config)).toEqual(losses(config));
    expect(losses({ ...config, seeds: { ...config.seeds, weights: 5 } })).not.toEqual(losses(config));
  });

  it('goes on from a checkpoint with the same bits, also past a damaged one', async () => {
    const config = tinyConfig({
      recipe: 'deepseek-v3',
      steps: 9,
      checkpoint: { everySteps: 2, keep: 3, milestones: [] },
    });
    const whole = await run(config, join(root, 'whole'));
    expect(whole.steps).toHaveLength(9);
    const directory = join(root, 'resumed');
    const first = await run(config, directory, 5);
    expect(first.events.at(-1)).toMatchObject({ type: 'end', reason: 'aborted', step: 6 });
    const second = await run(config, directory);
    expect(second.events[0]).toMatchObject({ type: 'start', firstStep: 6 });
    expect([...first.steps, ...second.steps]).toEqual(whole.steps);
    expect(readdirSync(directory).sort()).toEqual(['step-000000006', 'step-000000008', 'step-000000009']);
    truncateSync(join(directory, 'step-000000009', 'state.safetensors'), 1000);
    const third = await run(config, directory);
    expect(third.steps).toEqual(whole.steps.slice(8));
  });

  it('keeps the checkpoints of milestones, which can be read by their step', async () => {
    const checkpoint = { everySteps: 4, keep: 1, milestones: [3, 5] };
    const config = tinyConfig({ steps: 9, checkpoint });
    const directory = join(root, 'milestones');
    await run(config, directory);
    expect(readdirSync(directory).sort()).toEqual(['step-000000003', 'step-000000005', 'step-000000009']);
    expect(await readCheckpoint(directory, config, { step: 5 })).toMatchObject({ step: 5 });
    expect(await readCheckpoint(directory, config, { step: 4 })).toBeUndefined();
    expect(await readCheckpoint(directory, config)).toMatchObject({ step: 9 });
  });

  it('keeps fewer bytes for backward than bfloat16 would take', () => {
    const config = learnable('deepseek-v3');
    const trainer = new Trainer(config);
    trainer.step(syntheticBatch(config, 0, 0), false);
    const { perToken, bf16PerToken } = trainer.savedBytes();
    expect(perToken).toBeLessThan(bf16PerToken);
    const plain = new Trainer(learnable('f32'));
    plain.step(syntheticBatch(config, 0, 0), false);
    expect(plain.savedBytes().bf16PerToken).toBe(bf16PerToken);
    expect(plain.savedBytes().perToken).toBe(bf16PerToken * 2);
  });

  it('refuses what cannot run, before anything changes', async () => {
    const config = tinyConfig({ steps: 3 });
    const code = (body: () => unknown): string => {
      try {
        body();
      } catch (error) {
        if (TrainingError.isInstance(error)) return error.code;
        throw error;
      }
      return 'none';
    };
    expect(code(() => new Trainer({ ...config, ranks: 2 }))).toBe('training/bad-config');
    const trainer = new Trainer(config);
    expect(code(() => trainer.step(new Int32Array(3), false))).toBe('training/bad-shape');
    const batch = syntheticBatch(config, 0, 0);
    batch[3] = 37;
    expect(code(() => trainer.step(batch, false))).toBe('training/bad-shape');
    const weights = trainer.weights.slice();
    weights[0] = Number.NaN;
    trainer.restore({ ...trainer.state(), weights });
    batch.fill(0);
    expect(code(() => trainer.step(batch, false))).toBe('training/not-finite');
    expect(trainer.stepsDone).toBe(0);
    const directory = join(root, 'other');
    await run(config, directory);
    const other = { ...config, batchSequences: 4 };
    await expect(run(other, directory)).rejects.toMatchObject({ code: 'training/bad-checkpoint' });
  });
});
