import { fileURLToPath } from 'node:url';
import type { Communicator } from '@moestack/collectives';
import type { AttentionMode, DeepseekConfig, ExpertRoutingOptions, Precision } from '@moestack/model';
import type { LiveRebalancerOptions, Plan } from '@moestack/placement';
import type { AdmissionPolicy, SchedulerConfig } from '@moestack/scheduler';
import type { Backend } from '../backend.js';
import type { Clock } from '../clock.js';
import { badOption } from '../errors.js';
import type { EngineStats, SloTargets } from './engine-stats.js';
import type { EngineRestart } from './engine-supervisor.js';
import type { StageExperts, StageRebalance } from './expert-balancer.js';
import type { LoadProgress } from './stage-worker.js';

/** Options of {@link createEmbeddedBackend}. */
export interface EmbeddedOptions {
  /** A Hugging Face directory: config.json, safetensors, tokenizer.json. A path, or a `file:` URL. */
  readonly modelDirectory: string | URL;
  /** The model's name in the API; default: the directory's name. */
  readonly name?: string;
  /** Name of the backend in metrics and beside others of a gateway; default `embedded`. */
  readonly backendName?: string;
  /** Default: `fp8-weights` for a checkpoint with FP8 tensors, else `f32`. */
  readonly precision?: Precision;
  /**
   * `auto` (default) takes the cheaper form for each sequence of a step, so that a prompt may differ in the last bits of its probabilities by how it was cut into
   * steps, and what is computed again after a preemption or a restart from what was decoded. `absorbed` and `naive` are the same bits either way.
   */
  readonly attention?: AttentionMode;
  /** `split` (default): a prefill rank and a decode rank, each with its weights and KV pool. `mixed`: one rank for both. */
  readonly stages?: 'split' | 'mixed';
  /** Ranks of the prefill stage, default 1: threads that share its prompts and its experts. Only with `split`. */
  readonly prefillRanks?: number;
  /** Ranks of the decode stage, or of the one stage of `mixed`; default 1. */
  readonly decodeRanks?: number;
  /** Ranks of a stage that share the attention heads of its sequences, default 1; divides its ranks and the heads. Each of them caches every token. */
  readonly prefillTensor?: number;
  readonly decodeTensor?: number;
  /**
   * Ranks in processes instead of threads, as MPI starts them: this one is rank 0, the others call {@link followEmbeddedBackend} with the same options. One stage
   * for prompts and decoding. The first rank answers HTTP between its steps. No rank is replaced: when one is lost, the engine fails, or the process manager ends all.
   */
  readonly communicator?: Communicator;
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
  /**
   * KV blocks of the decode stage, shared out to its ranks, of which each has those of one full context at least; default: enough for `maxBatch` full contexts,
   * within 1 GiB.
   */
  readonly kvBlocks?: number;
  /** Tokens per KV block; default 16. */
  readonly blockSizeTokens?: number;
  /** Most prompt tokens in one step; default 512. */
  readonly prefillTokens?: number;
  /** Most tokens of one prompt in one step; default `prefillTokens`. */
  readonly prefillChunkTokens?: number;
  /** Most prompts that are prefilled together, or wait for a place to decode; default 16. Only with `split`. */
  readonly prefillSequences?: number;
  /** Keep prompts' blocks for others that begin alike, default true. Then an answer may differ in the last bits of its probabilities. */
  readonly prefixCache?: boolean;
  /** Latencies that are promised; they are reported, and requests that would miss them are refused or degraded. */
  readonly slo?: SloTargets;
  /** What happens to requests that would miss a target; default: they get 429 with Retry-After. */
  readonly admission?: Omit<AdmissionPolicy, 'ttftUs' | 'tpotUs'>;
  /** Times that a request is taken up again after the engine lost a rank, with the tokens that it has; default 2. */
  readonly retries?: number;
  /** Restarts in a row, with no more than a few steps in between, before the engine is given up; default 3. 0: the first lost rank ends it. */
  readonly restarts?: number;
  /** How long one step may take before its stage counts as lost; default 120. */
  readonly stepTimeoutSeconds?: number;
  /** Called when lost ranks have been replaced, or the engine was given up. */
  readonly onRestart?: (restart: EngineRestart) => void;
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
  /** Times that lost ranks were replaced. */
  readonly restarts: number;
  /** What the engine does and how it fares, as plain data. */
  stats(): EngineStats;
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
/** API keys that get shares of their own; further ones share one. */
const maxTenants = 1024;
/** Timers take 2^31 - 1 milliseconds. */
const MAXIMUM_SECONDS = 2_000_000;

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
  const { communicator } = options;
  const decodeRanks = count('decodeRanks', options.decodeRanks ?? communicator?.size ?? 1, 1, maxRanks);
  checkTensor('prefillTensor', options.prefillTensor, prefillRanks, config);
  checkTensor('decodeTensor', options.decodeTensor, decodeRanks, config);
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
  const chunk = options.prefillChunkTokens;
  const entry = {
    prefixCache: options.prefixCache ?? true,
    ...(chunk !== undefined && { maxChunkTokens: count('prefillChunkTokens', chunk, 1, maxCount) }),
  };
  const base = {
    blockSizeTokens,
    maxWaiting,
    maxContextTokens: contextTokens,
    fairness: { maxTenants },
  };
  if (communicator !== undefined) {
    if (options.stages === 'split') throw badOption('stages', 'split', "'mixed' with communicator");
    if (decodeRanks !== communicator.size) {
      throw badOption('decodeRanks', decodeRanks, `${communicator.size}, the size of communicator`);
    }
  }
  if (options.stages === 'mixed' || communicator !== undefined) {
    const tokenBudget = Math.max(prefillTokens, maxBatch);
    const stage = {
      name: 'mixed',
      role: 'mixed' as const,
      ...entry,
      blocks: kvBlocks,
      tokenBudget,
      maxSequences: maxBatch,
    };
    if (prefillRanks > 1) throw badOption('prefillRanks', prefillRanks, '1 with one stage');
    return {
      contextTokens,
      ranks: [decodeRanks],
      scheduler: { ...base, stages: [stage] },
    };
  }
  const prefillSequences = count(
    'prefillSequences',
    options.prefillSequences ?? Math.min(maxBatch, 16),
    1,
    4096,
  );
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
          ...entry,
          blocks: prefillBlocks,
          tokenBudget: Math.max(prefillTokens, prefillSequences),
          maxSequences: prefillSequences,
        },
        { name: 'decode', role: 'decode', blocks: kvBlocks, tokenBudget: maxBatch, maxSequences: maxBatch },
      ],
    },
  };
}

function checkTensor(name: string, tensor: number | undefined, ranks: number, config: DeepseekConfig): void {
  if (tensor === undefined) return;
  count(name, tensor, 1, maxRanks);
  const heads = config.num_attention_heads;
  if (ranks % tensor === 0 && heads % tensor === 0) return;
  throw badOption(name, tensor, `a divisor of the ${ranks} ranks of the stage and of the ${heads} heads`);
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

/**
 * A time above 0.
 *
 * @throws {@link ServingError} `serving/bad-options`.
 */
export function seconds(name: string, value: number): number {
  if (Number.isFinite(value) && value > 0 && value <= MAXIMUM_SECONDS) return value;
  throw badOption(name, value, `seconds above 0, at most ${MAXIMUM_SECONDS}`);
}
