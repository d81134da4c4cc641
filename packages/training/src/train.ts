import { launchWorkers } from '@moestack/collectives/worker';
import { type TrainConfig, TrainEvent } from '@moestack/schemas';
import { TrainingError } from './errors.js';
import { runRank } from './run-rank.js';
import type { TokenSource, TokenSourceSpec, TrainOptions } from './types.js';
import { loadTokenSource, type WorkerOrder } from './worker-order.js';

/**
 * Trains a model, from the newest checkpoint in `directory` if there is one, and resolves to the last event. An uninterrupted
 * run and one that was killed and started again give the same losses, bit for bit: state is written after whole steps only.
 *
 * @example
 * ```ts
 * import { mkdtempSync } from 'node:fs';
 * import { TrainConfig } from '@moestack/schemas';
 * import { train } from '@moestack/training';
 *
 * const config = TrainConfig.parse({
 *   schemaVersion: 1,
 *   name: 'example',
 *   model: {
 *     vocabularySize: 16, hiddenSize: 32, layers: 2, heads: 2, keyValueRank: 16, nopeDims: 8, ropeDims: 4,
 *     valueDims: 8, denseWidth: 64, experts: 4, topK: 2, expertWidth: 32,
 *   },
 *   recipe: { name: 'deepseek-v3' },
 *   steps: 5, batchSequences: 4, contextTokens: 8, seeds: { weights: 1, data: 1 },
 * });
 * const source = { batch: (step: number) => Int32Array.from({ length: 36 }, (_, i) => (i * i + step) % 16) };
 * const end = await train(config, { directory: mkdtempSync('/tmp/train-'), source });
 * console.log(end.step, end.loss);
 * ```
 */
export async function train(
  config: TrainConfig,
  options: TrainOptions,
): Promise<TrainEvent & { type: 'end' }> {
  return config.ranks === 1 ? await trainHere(config, options) : await trainInWorkers(config, options);
}

async function trainHere(
  config: TrainConfig,
  { directory, signal, source, sourceSpec, onEvent, clock }: TrainOptions,
): Promise<TrainEvent & { type: 'end' }> {
  return await runRank(config, {
    directory,
    source: await sourceOf(source, sourceSpec),
    wantsStop: () => signal?.aborted === true,
    onEvent: onEvent ?? (() => undefined),
    clock: clock ?? (() => 0),
  });
}

async function sourceOf(source?: TokenSource, spec?: TokenSourceSpec): Promise<TokenSource> {
  if (source !== undefined) return source;
  if (spec !== undefined) return await loadTokenSource(spec);
  throw new TrainingError({
    code: 'training/bad-config',
    message: 'expected a source or a sourceSpec, got neither',
    value: undefined,
    remedy: 'pass one of them',
  });
}

async function trainInWorkers(
  config: TrainConfig,
  { directory, signal, sourceSpec, onEvent, clock }: TrainOptions,
): Promise<TrainEvent & { type: 'end' }> {
  if (sourceSpec === undefined) {
    throw new TrainingError({
      code: 'training/bad-config',
      message: `expected a sourceSpec for ${config.ranks} ranks, got none`,
      value: config.ranks,
      remedy: 'pass sourceSpec: each worker makes its own source',
    });
  }
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const onAbort = (): void => void Atomics.store(stop, 0, 1);
  if (signal?.aborted) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  const order: WorkerOrder = { config, directory, sourceSpec, stop, isTimed: clock !== undefined };
  try {
    const group = launchWorkers({
      ranks: config.ranks,
      entry: import.meta.resolve('@moestack/training/worker'),
      data: order,
    });
    let end: (TrainEvent & { type: 'end' }) | undefined;
    let failure: unknown;
    group.workers[0]!.on('message', (message: unknown) => {
      try {
        const event = TrainEvent.parse(message);
        if (event.type === 'end') end = event;
        onEvent?.(event);
      } catch (error) {
        failure ??= error;
        onAbort();
      }
    });
    await group.join();
    if (failure !== undefined) throw failure;
    return end!;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
