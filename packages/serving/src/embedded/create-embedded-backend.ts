import { randomInt } from 'node:crypto';
import { basename, resolve } from 'node:path';
import {
  type DeepseekConfig,
  type ExpertRoutingOptions,
  endOfSequenceIds,
  expertRows,
  loadTokenizer,
  readConfig,
  readGenerationConfig,
} from '@moestack/model';
import { initialPlan, type Plan } from '@moestack/placement';
import { Scheduler, type StageConfig } from '@moestack/scheduler';
import type { GenerationConfig } from '@moestack/schemas';
import { systemClock } from '../clock.js';
import { Engine } from './engine.js';
import { EngineBackend, type GenerationDefaults } from './engine-backend.js';
import { ExpertBalancer } from './expert-balancer.js';
import { count, directoryPath, type EmbeddedBackend, type EmbeddedOptions, engineSizes } from './options.js';
import { longestToken } from './prompt.js';
import { PromptEncoder } from './prompt-encoder.js';
import { RankStepEngine } from './rank-step-engine.js';
import { StageGroup } from './stage-group.js';
import { connect } from './stage-worker.js';

const MAXIMUM_REDUNDANT = 4096;

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
  const progress = totalProgress(
    options,
    sizes.ranks.reduce((sum, ranks) => sum + ranks, 0),
  );
  const started = stages.map((stage, index) => {
    const ranks = sizes.ranks[index]!;
    const firstRank = index === 0 ? 0 : sizes.ranks[0]!;
    const routing = stageRouting(options, config, stage.role, ranks);
    return StageGroup.start({
      name: stage.name,
      ranks,
      config,
      routing,
      // Whatever a new placement asks of one layer finds room.
      spareSlots: routing.placement === undefined ? 0 : routing.placement.deployment.replicas / ranks,
      setup: {
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
      onProgress: (rank, report) => progress(firstRank + rank, report),
      ...(options.signal && { signal: options.signal }),
    }).then((group) => ({ group, plan: routing.placement }));
  });
  const [tokenizer, groups] = await allOrNone(loadTokenizer(directory), started);
  const [first, second] = groups;
  if (first !== undefined && second !== undefined) connect(first.group, second.group);
  const clock = options.clock ?? systemClock;
  const balancers = groups.flatMap(({ group, plan }) => {
    if (plan === undefined) return [];
    const balancer = new ExpertBalancer(group, plan);
    group.listenToFailure((error) => balancer.fail(error));
    return [balancer];
  });
  const workers = groups.map(({ group }) => group);
  const backend = new EngineBackend({
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
    engine: new Engine(scheduler, new RankStepEngine(workers), clock),
    randomSeed: options.randomSeed ?? (() => randomInt(maxRandomSeed)),
    weightBytes: workers.reduce((sum, worker) => sum + worker.weightBytes, 0),
    balancers,
  });
  if (options.rebalance === undefined) return backend;
  try {
    for (const balancer of balancers) {
      balancer.watch(options.rebalance, clock, (result) => options.onRebalance?.(result));
    }
  } catch (error) {
    await backend.close();
    throw error;
  }
  return backend;
}

/**
 * How the tokens of a stage reach its experts: prompts rank by rank, single tokens selection by selection, so that new placements change no bit of what is
 * decoded. A stage of one rank has no placement.
 */
function stageRouting(
  options: EmbeddedOptions,
  config: DeepseekConfig,
  role: StageConfig['role'],
  ranks: number,
): ExpertRoutingOptions {
  if (ranks === 1) return {};
  const { payload = 'f32', placements } = options;
  const redundant = count('redundantExperts', options.redundantExperts ?? 0, 0, MAXIMUM_REDUNDANT);
  const mode = role === 'decode' ? 'low-latency' : 'direct';
  const given = role === 'prefill' ? placements?.prefill : placements?.decode;
  if (given !== undefined) return { mode, payload, placement: given };
  const layers = expertRows(config).filter((row) => row >= 0).length;
  const experts = config.n_routed_experts ?? 0;
  // A model without experts is refused where its layout is checked.
  if (layers === 0) return { mode, payload };
  const replicas = Math.ceil((experts + redundant) / ranks) * ranks;
  const placement = initialPlan(layers, experts, { nodes: 1, gpus: ranks, replicas });
  return { mode, payload, placement };
}

function stepShape(stage: StageConfig, contextTokens: number, blockSizeTokens: number) {
  return { maxSequences: stage.maxSequences, maxBlocks: Math.ceil((contextTokens + 1) / blockSizeTokens) };
}

/** A stage and where its experts live, if they are on several ranks. */
interface Started {
  readonly group: StageGroup;
  readonly plan: Plan | undefined;
}

/** Waits for all; if one fails, ends the workers that did start. */
async function allOrNone<T>(
  other: Promise<T>,
  started: readonly Promise<Started>[],
): Promise<[T, Started[]]> {
  try {
    return await Promise.all([other, Promise.all(started)]);
  } catch (error) {
    for (const settled of await Promise.allSettled(started)) {
      if (settled.status === 'fulfilled') await settled.value.group.close();
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
