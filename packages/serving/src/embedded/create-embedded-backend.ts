import { randomInt } from 'node:crypto';
import { basename, resolve } from 'node:path';
import type { Communicator } from '@moestack/collectives';
import { endOfSequenceIds, loadTokenizer, readConfig, readGenerationConfig } from '@moestack/model';
import type { GenerationConfig } from '@moestack/schemas';
import { systemClock } from '../clock.js';
import { badOption } from '../errors.js';
import { EngineBackend, type GenerationDefaults } from './engine-backend.js';
import { EngineMonitor } from './engine-monitor.js';
import { type EngineRestart, EngineSupervisor, type StageRanks } from './engine-supervisor.js';
import {
  count,
  directoryPath,
  type EmbeddedBackend,
  type EmbeddedOptions,
  engineSizes,
  seconds,
} from './options.js';
import { followProcess } from './process-group.js';
import { longestToken } from './prompt.js';
import { PromptEncoder } from './prompt-encoder.js';
import { stageSetup, startEngine } from './start-engine.js';

const STEP_SECONDS = 120;
const MAXIMUM_RESTARTS = 1000;
/** The signal and the progress that a caller gives are those of the first start. */
const restarted: Pick<EmbeddedOptions, 'onProgress' | 'signal'> = {};

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
  const setup = await engineSetup(options);
  const { directory, config, sizes, generation, clock } = setup;
  const { stages, maxWaiting } = sizes.scheduler;
  for (const [name, target] of Object.entries(options.slo ?? {})) seconds(`slo.${name}`, target);
  if (options.communicator !== undefined && options.communicator.rank !== 0) {
    throw badOption(
      'communicator.rank',
      options.communicator.rank,
      '0 (other ranks call followEmbeddedBackend)',
    );
  }
  const monitor = new EngineMonitor({
    clock,
    scheduler: sizes.scheduler,
    slo: options.slo ?? {},
    admission: options.admission ?? {},
  });
  let isFirst = true;
  const restarts = count('restarts', options.restarts ?? 3, 0, MAXIMUM_RESTARTS);
  const supervision = {
    start: (ranks: StageRanks, closing: AbortSignal) => {
      const { onProgress, signal } = isFirst ? options : restarted;
      isFirst = false;
      const either = signal === undefined ? closing : AbortSignal.any([closing, signal]);
      return startEngine({ ...setup, monitor, onProgress }, ranks, either);
    },
    retries: count('retries', options.retries ?? 2, 0, MAXIMUM_RESTARTS),
    // When a process of a group dies, so do the others.
    restarts: options.communicator === undefined ? restarts : 0,
    maxWaiting,
    onRestart: (restart: EngineRestart) => options.onRestart?.(restart),
    clock,
  };
  const ranks = Object.fromEntries(stages.map((stage, index) => [stage.name, sizes.ranks[index]!]));
  const [tokenizer, engine] = await both(
    loadTokenizer(directory),
    EngineSupervisor.start(supervision, ranks),
  );
  return new EngineBackend({
    name: options.backendName ?? 'embedded',
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
      maxWaiting,
    }),
    defaults: defaultsOf(generation),
    engine,
    monitor,
    randomSeed: options.randomSeed ?? (() => randomInt(maxRandomSeed)),
  });
}

/**
 * Runs a rank of a backend whose ranks are processes: all but rank 0 of `communicator` call it with the options that rank 0 gives {@link createEmbeddedBackend}.
 * Resolves when the backend is closed.
 *
 * @throws errors of `@moestack/model` and below for what cannot be loaded, `ServingError` for bad options.
 */
export async function followEmbeddedBackend(
  options: EmbeddedOptions & { readonly communicator: Communicator },
): Promise<void> {
  const setup = await engineSetup(options);
  const { communicator } = options;
  if (communicator.rank === 0) {
    throw badOption('communicator.rank', 0, 'above 0 (rank 0 calls createEmbeddedBackend)');
  }
  const { routing, spareSlots, tensor, rank } = stageSetup(
    setup,
    setup.sizes.scheduler.stages[0]!,
    communicator.size,
  );
  await followProcess({
    name: 'mixed',
    place: { routing, spareSlots, communicator, tensor },
    setup: rank,
    onProgress: options.onProgress,
  });
}

/** What the options mean for the model that they name. */
async function engineSetup(options: EmbeddedOptions) {
  const directory = directoryPath(options.modelDirectory);
  const config = await readConfig(directory);
  const sizes = engineSizes(options, config);
  const generation = await readGenerationConfig(directory);
  const eosIds = [...new Set([...endOfSequenceIds(config), ...toList(generation.eos_token_id)])];
  const clock = options.clock ?? systemClock;
  const stepTimeoutSeconds = seconds('stepTimeoutSeconds', options.stepTimeoutSeconds ?? STEP_SECONDS);
  const { onProgress } = options;
  return { options, directory, config, sizes, generation, eosIds, stepTimeoutSeconds, clock, onProgress };
}

/** Waits for both; if the first fails, ends the engine. */
async function both<T>(
  other: Promise<T>,
  started: Promise<EngineSupervisor>,
): Promise<[T, EngineSupervisor]> {
  try {
    return await Promise.all([other, started]);
  } catch (error) {
    const [settled] = await Promise.allSettled([started]);
    if (settled.status === 'fulfilled') await settled.value.close(error);
    throw error;
  }
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
