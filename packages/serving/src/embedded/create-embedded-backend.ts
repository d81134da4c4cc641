import { randomInt } from 'node:crypto';
import { basename, resolve } from 'node:path';
import { endOfSequenceIds, loadTokenizer, readConfig, readGenerationConfig } from '@moestack/model';
import { Scheduler, type StageConfig } from '@moestack/scheduler';
import type { GenerationConfig } from '@moestack/schemas';
import { systemClock } from '../clock.js';
import { Engine } from './engine.js';
import { EngineBackend, type GenerationDefaults } from './engine-backend.js';
import { directoryPath, type EmbeddedBackend, type EmbeddedOptions, engineSizes } from './options.js';
import { longestToken } from './prompt.js';
import { PromptEncoder } from './prompt-encoder.js';
import { RankStepEngine } from './rank-step-engine.js';
import { connect, StageWorker } from './stage-worker.js';

/** Seeds up to here leave room for the `+ i` of several choices. */
const maxRandomSeed = 2 ** 48 - 1;

/**
 * Loads a model into worker threads and serves it: by default a prefill rank and a decode rank, each with its own
 * WebAssembly memory, weights and KV pool; finished prompts are handed over as bytes.
 *
 * @throws errors of `@moestack/model` and below for what cannot be loaded, `ServingError` for bad options.
 *
 * @example
 * ```ts
 * import { createEmbeddedBackend } from '@moestack/serving/embedded';
 * import { tinyMoe } from '@moestack/tiny-moe';
 *
 * const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe' });
 * console.log((await backend.models())[0]?.contextTokens);
 * await backend.close();
 * ```
 */
export async function createEmbeddedBackend(options: EmbeddedOptions): Promise<EmbeddedBackend> {
  const directory = directoryPath(options.modelDirectory);
  const config = await readConfig(directory);
  const sizes = engineSizes(options, config);
  const generation = await readGenerationConfig(directory);
  const eosIds = [...new Set([...endOfSequenceIds(config), ...toList(generation.eos_token_id)])];
  const scheduler = new Scheduler(sizes.scheduler);
  const { stages, blockSizeTokens } = sizes.scheduler;
  const progress = totalProgress(options, stages.length);
  const started = stages.map((stage, index) =>
    StageWorker.start(
      stage.name,
      {
        kind: 'rank',
        directory,
        runtime: {
          blocks: stage.blocks,
          blockSizeTokens,
          maxBatchTokens: stage.tokenBudget,
          maxSequences: stage.maxSequences,
          maxContextTokens: sizes.contextTokens,
          ...(options.precision && { precision: options.precision }),
        },
        eosIds,
        stepShape: stepShape(stage, sizes.contextTokens, blockSizeTokens),
      },
      { onProgress: (report) => progress(index, report), ...(options.signal && { signal: options.signal }) },
    ),
  );
  const [tokenizer, workers] = await allOrNone(loadTokenizer(directory), started);
  if (workers[0] !== undefined && workers[1] !== undefined) connect(workers[0], workers[1]);
  return new EngineBackend({
    card: { id: options.name ?? basename(resolve(directory)), contextTokens: sizes.contextTokens },
    tokenizer,
    encoder: new PromptEncoder({
      directory,
      tokenizer,
      limits: {
        contextTokens: sizes.contextTokens,
        vocabulary: config.vocab_size,
        longestToken: longestToken(tokenizer),
      },
      maxWaiting: sizes.scheduler.maxWaiting,
    }),
    defaults: defaultsOf(generation),
    engine: new Engine(scheduler, new RankStepEngine(workers), options.clock ?? systemClock),
    randomSeed: options.randomSeed ?? (() => randomInt(maxRandomSeed)),
    weightBytes: workers.reduce((sum, worker) => sum + worker.weightBytes, 0),
  });
}

function stepShape(stage: StageConfig, contextTokens: number, blockSizeTokens: number) {
  return { maxSequences: stage.maxSequences, maxBlocks: Math.ceil((contextTokens + 1) / blockSizeTokens) };
}

/** Waits for all; if one fails, ends the workers that did start. */
async function allOrNone<T>(
  other: Promise<T>,
  started: readonly Promise<StageWorker>[],
): Promise<[T, StageWorker[]]> {
  try {
    return await Promise.all([other, Promise.all(started)]);
  } catch (error) {
    for (const settled of await Promise.allSettled(started)) {
      if (settled.status === 'fulfilled') await settled.value.close();
    }
    throw error;
  }
}

/** Adds up what the ranks report. */
function totalProgress(options: EmbeddedOptions, ranks: number) {
  const reports = Array.from({ length: ranks }, () => ({ loadedBytes: 0, totalBytes: 0 }));
  return (rank: number, report: { loadedBytes: number; totalBytes: number }): void => {
    reports[rank] = { loadedBytes: report.loadedBytes, totalBytes: report.totalBytes };
    if (reports.some((one) => one.totalBytes === 0)) return;
    options.onProgress?.({
      loadedBytes: reports.reduce((sum, one) => sum + one.loadedBytes, 0),
      totalBytes: reports.reduce((sum, one) => sum + one.totalBytes, 0),
    });
  };
}

function defaultsOf(generation: GenerationConfig): GenerationDefaults {
  return {
    sampling: {
      temperature: generation.do_sample === false ? 0 : (generation.temperature ?? 1),
      topP: generation.top_p ?? 1,
      topK: Math.max(0, generation.top_k ?? 0),
      minP: generation.min_p ?? 0,
    },
    maxNewTokens: generation.max_new_tokens ?? undefined,
  };
}

function toList(ids: number | number[] | null | undefined): readonly number[] {
  return typeof ids === 'number' ? [ids] : (ids ?? []);
}
