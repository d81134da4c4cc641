import type { Deployment, Slo, Workload } from '../cost/deployment.js';
import type { StepCostModel } from '../cost/step-cost.js';
import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';
import type { RequestSource } from '../workload/request-source.js';
import type { TimelineEvent } from './timeline.js';

/** What {@link simulate} runs. */
export interface SimulateOptions {
  accelerator: Accelerator;
  model: ModelShape;
  deployment: Deployment;
  /** Traffic drawn from distributions. Either this or `requests`. */
  workload?: Workload;
  /** A trace, in order of arrival. */
  requests?: RequestSource;
  /** How many requests of `workload` to simulate; default 10,000. */
  requestCount?: number;
  /** Users who each send the next request of a trace when the last is answered; arrival times are ignored then. */
  concurrency?: number;
  slo?: Slo;
  /** Default 1. */
  seed?: number;
  /** Blocks of 512 tokens (Mooncake's) of a prefix cache that all prefill units share; 0: none; default unlimited. */
  prefixCacheBlocks?: number;
  /** Tokens of a prefix block; default 512. */
  prefixBlockTokens?: number;
  /** Most tokens of prompt and output; longer requests are refused. Default 163,840, or what a rank holds. */
  maxContextTokens?: number;
  /** Most requests that wait at one rank; more are refused. Default 4,096. */
  maxWaiting?: number;
  /** Prices to use instead of those of the deployment. */
  costs?: { prefill: StepCostModel; decode: StepCostModel };
  /** Steps to record for a timeline; default 0. */
  timelineSteps?: number;
  /** Plan every decode step by itself instead of fusing equal ones: slow, and the same but for rounding. Default false. */
  singleSteps?: boolean;
  signal?: AbortSignal;
  /** Called now and then while events are worked off. */
  onProgress?: (progress: { arrived: number; finished: number; timeSeconds: number }) => void;
}

/** A distribution as a simulation reports it. Quantiles are within 0.5 %. */
export interface Distribution {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly maximum: number;
}

/** How one pool fared. */
export interface PoolResult {
  readonly gpus: number;
  /** Share of the time in which its units ran a step. */
  readonly utilisation: number;
  readonly steps: number;
  /** Prefilled and generated tokens a second and server. */
  readonly prefillTokensPerSecondPerNode: number;
  readonly decodeTokensPerSecondPerNode: number;
  /** Sequences of a data-parallel rank in a mean decode step, and of the busiest over the mean. */
  readonly meanSequencesPerRank: number;
  readonly rankImbalance: number;
  /** Largest share of KV blocks in use on a rank. */
  readonly peakKvShare: number;
  readonly preemptions: number;
}

/** Outcome of a simulation. */
export interface SimulationResult {
  readonly arrived: number;
  readonly finished: number;
  /** Requests turned away: queues were full, or they can never fit. */
  readonly refused: { readonly full: number; readonly tooLong: number };
  /** From the first arrival to the last token. */
  readonly durationSeconds: number;
  readonly inputTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly ttftSeconds: Distribution;
  /** Mean time between the tokens of a request after its first; requests of one token are left out. */
  readonly tpotSeconds: Distribution;
  readonly latencySeconds: Distribution;
  readonly requestsPerSecond: number;
  readonly outputTokensPerSecond: number;
  /** Requests within the objective: their share of those that arrived, and their rate. */
  readonly goodput: { readonly share: number; readonly requestsPerSecond: number } | null;
  /** Whether the objective's quantile of requests is within it; null without an objective. */
  readonly meetsSlo: boolean | null;
  readonly prefill: PoolResult;
  readonly decode: PoolResult;
  readonly timeline: readonly TimelineEvent[];
}
