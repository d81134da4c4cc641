import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ModelRuntime, openRuntime } from '@moestack/model';
import { Scheduler } from '@moestack/scheduler';
import { createEmbeddedBackend, type EmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { syntheticConfig, writeSyntheticCheckpoint } from '../../../model/bench/synthetic-checkpoint.js';

const cache = fileURLToPath(new URL('../../../node_modules/.cache/moestack-bench/', import.meta.url));
/** Of the tokenizer that the synthetic model gets. */
const VOCABULARY = 2048;
const BLOCKS_PER_SEQUENCE = 16;

/** The synthetic model of the engine's bench, with the tokenizer of the default model. */
export function syntheticModel(): string {
  const directory = `${cache}synthetic-text`;
  writeSyntheticCheckpoint(directory, { ...syntheticConfig, vocab_size: VOCABULARY });
  copyFileSync(join(fileURLToPath(tinyMoe), 'tokenizer.json'), join(directory, 'tokenizer.json'));
  return directory;
}

/** One rank that decodes up to so many sequences. */
export function openBackend(modelDirectory: string | URL, sequences: number): Promise<EmbeddedBackend> {
  return createEmbeddedBackend({
    modelDirectory,
    name: 'model',
    stages: 'mixed',
    maxBatch: sequences,
    contextTokens: 256,
    kvBlocks: sequences * BLOCKS_PER_SEQUENCE,
  });
}

/** The same model on this thread, without an engine around it. */
export function openAlone(modelDirectory: string | URL, sequences: number): Promise<ModelRuntime> {
  return openRuntime(modelDirectory instanceof URL ? fileURLToPath(modelDirectory) : modelDirectory, {
    blocks: sequences * BLOCKS_PER_SEQUENCE,
    maxBatchTokens: sequences,
    maxSequences: sequences,
    maxContextTokens: 256,
  });
}

/** Generates `tokens` tokens after each of `sequences` short prompts, together. */
export async function generate(backend: EmbeddedBackend, sequences: number, tokens: number): Promise<void> {
  const one = async (index: number) => {
    const request = {
      requestId: `bench-${index}`,
      model: 'model',
      prompt: { type: 'tokens', ids: Int32Array.of(index + 1, 7, 11, 13) } as const,
      maxTokens: tokens,
      sampling: { temperature: 0 },
      seed: 0,
      stop: [],
      ignoreEos: true,
    };
    for await (const event of backend.generate(request, { signal: new AbortController().signal })) {
      if (event.type === 'finish' && event.usage.completionTokens !== tokens)
        throw new Error(`expected ${tokens} tokens, got ${event.usage.completionTokens}`);
    }
  };
  await Promise.all(Array.from({ length: sequences }, (_, index) => one(index)));
}

/** What the scheduler does for a step in which `sequences` requests decode with everything on that the engine uses. */
export function schedulerStep(sequences: number): () => void {
  const scheduler = new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: sequences,
    maxContextTokens: 4096,
    fairness: { maxTenants: 1024 },
    stages: [
      {
        name: 'mixed',
        role: 'mixed',
        blocks: sequences * 256,
        tokenBudget: 512,
        maxSequences: sequences,
        prefixCache: true,
      },
    ],
  });
  const outcomes = { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) };
  let submitted = 0;
  return () => {
    while (scheduler.stats.active < sequences) {
      // Spread lengths, so that ends do not fall on one step.
      scheduler.submit({ promptTokens: 128, maxNewTokens: 1024 + ((submitted++ * 37) % 1024), arrivalUs: 0 });
    }
    const plan = scheduler.schedule(0);
    if (plan !== undefined) scheduler.complete(plan.stepId, outcomes, 0);
  };
}
