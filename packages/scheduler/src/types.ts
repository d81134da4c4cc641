/** A pool of KV blocks, or one for each of several ranks, and the steps that run on all of them. */
export interface StageConfig {
  /** Name for metrics and messages, such as `prefill`. */
  name: string;
  /** `mixed` prefills and decodes in one pool; `prefill` and `decode` come as a pair with a hand-over. */
  role: 'prefill' | 'decode' | 'mixed';
  /** KV blocks of the pool of each rank. Block ids run from 0 to `blocks - 1`. */
  blocks: number;
  /** Ranks with a pool of their own; default 1. A request has its blocks, cached ones too, on one rank, with room for it. */
  ranks?: number;
  /** Most new tokens in one step. */
  tokenBudget: number;
  /** Most sequences that hold blocks of this stage. */
  maxSequences: number;
  /** Steps of this stage that may run at once; default 1. A sequence is in one of them at most. */
  maxStepsInFlight?: number;
  /** Most tokens of one prompt in one step; default `tokenBudget`. */
  maxChunkTokens?: number;
  /**
   * Keep the blocks of prompts for others that begin alike, as long as no live sequence needs them; default false. For
   * the stage that prefills; see {@link SchedulerRequest.prefix}.
   */
  prefixCache?: boolean;
  /**
   * Role `prefill`: nobody is admitted while this many sequences are prefilled or being prefilled ahead of a place to
   * decode; default `maxSequences`, since each holds a seat.
   */
  maxHandover?: number;
  /** Splits steps into two micro-batches of similar work, for engines that overlap them; default: never. */
  microBatches?: MicroBatchConfig;
}

/** When and how a step is split in two. */
export interface MicroBatchConfig {
  /** Steps of fewer new tokens stay whole. */
  minTokens: number;
  /** Work of one token of context relative to one new token; default 1/512. */
  contextCost?: number;
}

/** Weighted fairness between tenants, such as API keys. */
export interface FairnessConfig {
  /** Tenants are numbered from 0 to `maxTenants - 1`. */
  maxTenants: number;
  /** Cost of a generated token relative to a prompt token that is not cached; default 1. */
  decodeCost?: number;
}

/** Configuration of a {@link Scheduler}. */
export interface SchedulerConfig {
  /** Tokens per KV block, the same in every stage. */
  blockSizeTokens: number;
  /** One `mixed` stage, or one `prefill` and one `decode` stage. */
  stages: readonly StageConfig[];
  /** Most requests that may wait for their first admission; more are refused. */
  maxWaiting: number;
  /** Most tokens of prompt and output together. */
  maxContextTokens: number;
  /** Default: none; equal priorities keep the order of submission. */
  fairness?: FairnessConfig;
}

/** What the scheduler must know of a request: lengths only, never token values. */
export interface SchedulerRequest {
  promptTokens: number;
  /** Most tokens to generate, at least 1. */
  maxNewTokens: number;
  /** When the request arrived, in microseconds on the caller's clock. */
  arrivalUs: number;
  /** Higher values are admitted first; default 0. Equal priorities keep the order of submission. */
  priority?: number;
  /** Whose request it is, for {@link SchedulerConfig.fairness}; default 0. */
  tenant?: number;
  /**
   * Names of the prompt's prefixes, one for each whole block: entry `i` is an integer >= 0 that stands for all tokens up
   * to the end of block `i`, the same for every request whose prompt begins with them and for no other. The array must
   * not change. Absent: the prompt is neither looked up nor kept.
   */
  prefix?: Float64Array;
}

/**
 * One step for one stage.
 *
 * The object and its arrays are reused after {@link Scheduler.complete} or {@link Scheduler.fail} of the step:
 * copy what must live longer. Only the first `sequences` entries of the arrays count. A sequence tends to keep its
 * row from step to step; otherwise rows have no order.
 */
export interface StepPlan {
  readonly stepId: number;
  /** Index of the stage in {@link SchedulerConfig.stages}; of the receiving stage for a transfer. */
  readonly stage: number;
  /** `compute` runs the model; `transfer` copies KV blocks from the source stage's pool to this stage's pool. */
  readonly kind: 'compute' | 'transfer';
  readonly sequences: number;
  /** Request ids [sequences]. */
  readonly requestIds: Int32Array;
  /** New tokens of each sequence in this step [sequences]: a prefill chunk, or 1; 0 in a transfer. */
  readonly tokenCounts: Int32Array;
  /** Tokens of each sequence whose KV is already computed [sequences]. */
  readonly contextStarts: Int32Array;
  /** 1 where the step reaches the last known token, so that a new one is sampled [sequences]. */
  readonly samples: Uint8Array;
  /** The rank of this stage whose blocks each sequence has [sequences]; it may be another one after a preemption. */
  readonly ranks: Int32Array;
  /** Physical block ids in that rank's pool [sequences, blockTableStride]. */
  readonly blockTables: Int32Array;
  readonly blockTableStride: number;
  /** Kind `transfer`: the blocks to export from the source stage, laid out like `blockTables`. */
  readonly sourceBlockTables: Int32Array;
  /** Kind `transfer`: the rank of the source stage that each sequence comes from [sequences]. */
  readonly sourceRanks: Int32Array;
  /** Kind `transfer`: index of the stage that exports; -1 otherwise. */
  readonly sourceStage: number;
  /** Entries of each row of the block tables that count [sequences]. */
  readonly blockCounts: Int32Array;
  /** Sequences of the step that advance by one generated token. */
  readonly decodeSequences: number;
  /** New tokens of the step that belong to no decode sequence. */
  readonly prefillTokens: number;
  /** Identical decode steps that this plan stands for; 1 until {@link Scheduler.fuse} says otherwise. */
  readonly fusedSteps: number;
  /** 2 when the step is split, else 1: see {@link StageConfig.microBatches}. */
  readonly microBatches: number;
  /** The micro-batch of each sequence, 0 or 1 [sequences]. */
  readonly microBatchOf: Uint8Array;
}

/** What came out of a step, one entry per sequence of its plan. Unread for transfers, except `failed`. */
export interface StepOutcomes {
  /** Sampled token per sequence, -1 = none. */
  readonly tokens: Int32Array;
  /** 1 where the sampled token ends the text (EOS). */
  readonly finished: Uint8Array;
  /** 1 where the step was lost for this sequence alone: it is computed again from its first token. */
  readonly failed?: Uint8Array;
}

/** Executes plans. The scheduler defines the type only; engines live elsewhere. */
export interface StepEngine {
  /** Runs one step and says what came of it. */
  run(plan: StepPlan, signal?: AbortSignal): Promise<StepOutcomes>;
}

/** Where a request is: see {@link Scheduler.stateOf}. */
export type RequestState = 'waiting' | 'prefill' | 'transfer' | 'decode' | 'gone';

/** Counters of one stage, of all its ranks together. */
export interface StageStats {
  readonly totalBlocks: number;
  /** Blocks that no sequence holds, those with a cached prefix included. */
  readonly freeBlocks: number;
  /** Free blocks that hold a cached prefix. */
  readonly cachedBlocks: number;
  /** Cached prefixes that were given up for lack of blocks, counted by block. */
  readonly evictedBlocks: number;
  /** Most blocks ever in use. */
  readonly peakUsedBlocks: number;
  /** Sequences that hold a place in this stage. */
  readonly running: number;
  /** Prefilled sequences that wait to be handed over; 0 but for a `prefill` stage. */
  readonly handoverWaiting: number;
  readonly peakRunning: number;
  readonly stepsInFlight: number;
  /** Compute steps completed; a fused plan counts as the steps it stands for. */
  readonly steps: number;
  /** Time between planning and completion, summed over compute steps. */
  readonly busyUs: number;
}

/** Counters of a {@link Scheduler}; the object is live and reused. */
export interface SchedulerStats {
  readonly stages: readonly StageStats[];
  /** Requests not yet admitted, or preempted and to be computed again. */
  readonly waiting: number;
  /** Requests known to the scheduler: waiting, running, or held by a step in flight. */
  readonly active: number;
  readonly submitted: number;
  /** Requests that were admitted at least once. */
  readonly admitted: number;
  /** Time between arrival and first admission, summed over admitted requests. */
  readonly queuedUs: number;
  /** Ended by length, by EOS, or by {@link Scheduler.finish}. */
  readonly finished: number;
  readonly cancelled: number;
  /** Times a request lost its blocks to another one. */
  readonly preemptions: number;
  /** Times a request was put back because its step was lost. */
  readonly requeued: number;
  readonly generatedTokens: number;
  /** Tokens of prompts that were looked up in the prefix cache, at each admission, and those found there. */
  readonly lookedUpTokens: number;
  readonly cachedTokens: number;
  /** Tokens computed in prefill items, including recomputation. */
  readonly prefillTokens: number;
  /** Sequences advanced by decode items, summed over steps. */
  readonly decodeTokens: number;
  readonly transfers: number;
  readonly transferredBlocks: number;
}
