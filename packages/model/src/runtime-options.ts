import type { DeepseekConfig } from './config.js';
import type { EmulatedRanks } from './emulated-exchange.js';
import { ModelError } from './errors.js';
import type { ExpertRoutingOptions, ParallelOptions } from './parallel-options.js';
import type { AttentionMode, Precision, W8A8Scale } from './precision.js';
import type { StageTrace } from './stage-trace.js';
import type { BatchLimits } from './step-batch.js';

/** Options of {@link openRuntime}. */
export interface ModelRuntimeOptions {
  /** Default: `fp8-weights` for a checkpoint with FP8 tensors, else `f32`. */
  readonly precision?: Precision;
  /** Default `auto`. */
  readonly attention?: AttentionMode;
  /** Default: `reference` where the configuration says `scale_fmt: "ue8m0"`, or describes no quantisation and all block scales of the weights are powers of two; else `none`. */
  readonly w8a8Scale?: W8A8Scale;
  /** File name beside the weights, default `config.json`. */
  readonly config?: string;
  /** Blocks of the cache pool. */
  readonly blocks: number;
  /** Tokens per block, default 16. */
  readonly blockSizeTokens?: number;
  /** Most new tokens in one step. */
  readonly maxBatchTokens: number;
  /** Most sequences in one step. */
  readonly maxSequences: number;
  /** Longest sequence; default and upper bound: the model's position range, and what the blocks hold. */
  readonly maxContextTokens?: number;
  /** Experts over several ranks; collective. Default: all of them on this one. */
  readonly parallel?: ParallelOptions;
  /** On one rank, the roundings and the order of additions that experts over several ranks bring. Not together with `parallel`. */
  readonly emulate?: ExpertRoutingOptions & EmulatedRanks;
  /** 2 lets `forward` overlap two micro-batches, at the price of activations for both; default 1. */
  readonly microBatches?: 1 | 2;
  /** Gets every stage of every step. */
  readonly trace?: StageTrace;
  /** Called after each gate with the layer's number among those with experts and the tokens of each logical expert; fits `ExpertLoadRecorder.recordLogical`. */
  readonly onExpertLoad?: (layer: number, counts: Int32Array) => void;
  /** Called while weights are read. */
  readonly onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

const MAXIMUM_COUNT = 1 << 24;

/** Checks the sizes in `options` against the model. */
export function limitsOf(options: ModelRuntimeOptions, config: DeepseekConfig): BatchLimits {
  const blocks = count('blocks', options.blocks);
  const blockSizeTokens = count('blockSizeTokens', options.blockSizeTokens ?? 16);
  const available = Math.min(config.max_position_embeddings, blocks * blockSizeTokens);
  const maxContextTokens = count('maxContextTokens', options.maxContextTokens ?? available);
  if (maxContextTokens > config.max_position_embeddings) {
    throw badOption(
      'maxContextTokens',
      maxContextTokens,
      `at most max_position_embeddings (${config.max_position_embeddings})`,
    );
  }
  return {
    vocabulary: config.vocab_size,
    blocks,
    blockSizeTokens,
    maxBatchTokens: count('maxBatchTokens', options.maxBatchTokens),
    maxSequences: count('maxSequences', options.maxSequences),
    maxContextTokens: Math.min(maxContextTokens, available),
  };
}

function count(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= MAXIMUM_COUNT) return value;
  throw badOption(name, value, `a whole number from 1 to ${MAXIMUM_COUNT}`);
}

export function badOption(name: string, value: unknown, expected: string): ModelError {
  return new ModelError({
    code: 'model/bad-options',
    message: `expected ${expected} for ${name}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
  });
}
