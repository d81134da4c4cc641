import { fileURLToPath } from 'node:url';
import type { DeepseekConfig, ExpertRoutingOptions, Precision } from '@moestack/model';
import type { LiveRebalancerOptions, Plan } from '@moestack/placement';
import type { SchedulerConfig } from '@moestack/scheduler';
import type { Backend } from '../backend.js';
import type { Clock } from '../clock.js';
import { ServingError } from '../errors.js';
import type { StageExperts, StageRebalance } from './expert-balancer.js';
import type { LoadProgress } from './stage-worker.js';

/** Options of {@link createEmbeddedBackend}. */
export interface EmbeddedOptions {
  /** A Hugging Face directory: config.json, safetensors, tokenizer.json. A path, or a `file:` URL. */
  readonly modelDirectory: string | URL;
  /** The model's name in the API; default: the directory's name. */
  readonly name?: string;
  /** Default: `fp8-weights` for a checkpoint with FP8 tensors, else `f32`. */
  readonly precision?: Precision;
  /** `split` (default): a prefill rank and a decode rank, each with its weights and KV pool. `mixed`: one rank for both. */
  readonly stages?: 'split' | 'mixed';
  /** Ranks of the prefill stage, default 1: threads that share its prompts and its experts. Only with `split`. */
  readonly prefillRanks?: number;
  /** Ranks of the decode stage, or of the one stage of `mixed`; default 1. */
  readonly decodeRanks?: number;
  /** Where the experts of a stage of several ranks live, default: in order. A row for each layer with experts, a GPU for each rank. */
  readonly placements?: { readonly prefill?: Plan; readonly decode?: Plan };
  /** Slots of each stage of several ranks beyond one for each expert, rounded up so that ranks have equally many; default 0. */
  readonly redundantExperts?: number;
  /** What tokens travel as between ranks, default `f32`: then answers are those of one rank. */
  readonly payload?: NonNullable<ExpertRoutingOptions['payload']>;
  /** Moves experts between the ranks of a stage while it serves; default: only when {@link EmbeddedBackend.rebalance} is called. */
  readonly rebalance?: LiveRebalancerOptions;
  /** Called when experts have moved by themselves. */
  readonly onRebalance?: (result: StageRebalance) => void;
  /** Most sequences that decode together; default 64. */
  readonly maxBatch?: number;
  /** Most requests that wait; more get 429. Default 256. */
  readonly maxWaiting?: number;
  /** Longest prompt plus continuation; default: what the model allows. */
  readonly contextTokens?: number;
  /** KV blocks of the decode rank; default: enough for `maxBatch` full contexts, within 1 GiB. */
  readonly kvBlocks?: number;
  /** Tokens per KV block; default 16. */
  readonly blockSizeTokens?: number;
  /** Most prompt tokens in one step; default 512. */
  readonly prefillTokens?: number;
  /** Called while the model is loaded. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Aborts the start. */
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Seeds of requests that bring none, integers in [0, 2^53); default: random ones. */
  readonly randomSeed?: () => number;
}

/** The engine in this process as a {@link Backend}. */
export interface EmbeddedBackend extends Backend {
  /** Bytes of weights that the ranks hold together. */
  readonly weightBytes: number;
  /** Where the experts of each stage of several ranks live, and what they have done. */
  experts(): Promise<readonly StageExperts[]>;
  /** Places the experts of each stage of several ranks anew, by the tokens since the last time, while it serves. */
  rebalance(): Promise<readonly StageRebalance[]>;
}

/** What the options mean for a given model. */
export interface EngineSizes {
  readonly contextTokens: number;
  readonly scheduler: SchedulerConfig;
  /** Ranks of each stage. */
  readonly ranks: readonly number[];
}

const kvBudgetBytes = 2 ** 30;
const maxCount = 2 ** 20;
const maxRanks = 64;

/**
 * Fills in the sizes.
 *
 * @throws {@link ServingError} `serving/bad-options`.
 */
export function engineSizes(options: EmbeddedOptions, config: DeepseekConfig): EngineSizes {
  const positions = config.max_position_embeddings;
  const maxBatch = count('maxBatch', options.maxBatch ?? 64, 1, 4096);
  const maxWaiting = count('maxWaiting', options.maxWaiting ?? 256, 1, maxCount);
  const blockSizeTokens = count('blockSizeTokens', options.blockSizeTokens ?? 16, 1, 1024);
  const prefillTokens = count('prefillTokens', options.prefillTokens ?? 512, 1, maxCount);
  const contextTokens = count('contextTokens', options.contextTokens ?? positions, 1, positions);
  const prefillRanks = count('prefillRanks', options.prefillRanks ?? 1, 1, maxRanks);
  const decodeRanks = count('decodeRanks', options.decodeRanks ?? 1, 1, maxRanks);
  const perSequence = Math.ceil(contextTokens / blockSizeTokens);
  const latentDims = config.kv_lora_rank + config.qk_rope_head_dim;
  const blockBytes = config.num_hidden_layers * blockSizeTokens * latentDims * 4;
  const affordable = Math.max(perSequence, Math.floor(kvBudgetBytes / blockBytes));
  const kvBlocks = count(
    'kvBlocks',
    options.kvBlocks ?? Math.min(maxBatch * perSequence, affordable),
    perSequence,
    maxCount,
  );
  const base = { blockSizeTokens, maxWaiting, maxContextTokens: contextTokens };
  if (options.stages === 'mixed') {
    const tokenBudget = Math.max(prefillTokens, maxBatch);
    const stage = {
      name: 'mixed',
      role: 'mixed' as const,
      blocks: kvBlocks,
      tokenBudget,
      maxSequences: maxBatch,
    };
    if (prefillRanks > 1) throw badOption('prefillRanks', prefillRanks, "1 with stages 'mixed'");
    return { contextTokens, ranks: [decodeRanks], scheduler: { ...base, stages: [stage] } };
  }
  const prefillSequences = Math.min(maxBatch, 16);
  const prefillBlocks = Math.max(perSequence, Math.min(prefillSequences * perSequence, kvBlocks));
  return {
    contextTokens,
    ranks: [prefillRanks, decodeRanks],
    scheduler: {
      ...base,
      stages: [
        {
          name: 'prefill',
          role: 'prefill',
          blocks: prefillBlocks,
          tokenBudget: Math.max(prefillTokens, prefillSequences),
          maxSequences: prefillSequences,
        },
        { name: 'decode', role: 'decode', blocks: kvBlocks, tokenBudget: maxBatch, maxSequences: maxBatch },
      ],
    },
  };
}

/** The path of a directory given as a path or a URL. */
export function directoryPath(directory: string | URL): string {
  if (typeof directory === 'string' && !directory.startsWith('file:')) return directory;
  try {
    return fileURLToPath(directory);
  } catch (cause) {
    throw badOption('modelDirectory', String(directory), 'a path or a file: URL', cause);
  }
}

/**
 * A whole number from `minimum` to `maximum`.
 *
 * @throws {@link ServingError} `serving/bad-options`.
 */
export function count(name: string, value: number, minimum: number, maximum: number): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value;
  throw badOption(name, value, `a whole number from ${minimum} to ${maximum}`);
}

function badOption(name: string, value: unknown, expected: string, cause?: unknown): ServingError {
  return new ServingError({
    code: 'serving/bad-options',
    message: `expected ${expected} for ${name}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
    cause,
  });
}
