import type { HistogramSnapshot } from '../backend.js';
import type { StepPhase } from './step-phases.js';

/** What latency a request is promised, in seconds; what is left out is not promised. */
export interface SloTargets {
  /** Arrival to first token. */
  readonly ttftSeconds?: number;
  /** Mean time between the tokens of one request after its first. */
  readonly tpotSeconds?: number;
}

/** How the requests of the last while met the {@link SloTargets}. Fractions are of `requests`, 1 when there were none. */
export interface SloStats {
  readonly targets: SloTargets;
  /** Length of the sliding window. */
  readonly windowSeconds: number;
  /** Requests that ended within the window, refused ones included. */
  readonly requests: number;
  /** Fraction that met every target. A refused or failed request met none. */
  readonly attainment: number;
  readonly ttftAttainment: number;
  readonly tpotAttainment: number;
  /** Requests a second that met every target. */
  readonly goodputRequestsPerSecond: number;
  /** Generated tokens a second of those requests. */
  readonly goodputTokensPerSecond: number;
}

/** What admission control did since the start. */
export interface AdmissionStats {
  readonly accepted: number;
  /** Accepted with fewer tokens than asked for. */
  readonly shortened: number;
  /** Accepted behind all others. */
  readonly deferred: number;
  /** Refused, by reason: `ttft`, `tpot` (a target would be missed), `queue` (the queue is full). */
  readonly refused: Readonly<Record<'ttft' | 'tpot' | 'queue', number>>;
  /** Newest prediction for a request that would arrive now; undefined until the cost model has seen steps. */
  readonly predictedTtftSeconds?: number;
  readonly predictedTpotSeconds?: number;
}

/** One stage: a group of ranks with a batch policy and KV blocks of its own. */
export interface StageEngineStats {
  readonly stage: string;
  readonly role: 'prefill' | 'decode' | 'mixed';
  readonly ranks: number;
  readonly tokenBudget: number;
  readonly maxSequences: number;
  /** Sequences that hold blocks here. */
  readonly running: number;
  /** Prefilled sequences that wait to be handed over; 0 in other stages. */
  readonly handoverWaiting: number;
  readonly blocksTotal: number;
  /** Blocks of live sequences. */
  readonly blocksUsed: number;
  /** Blocks that hold the prefix of a past request and are given up when others need them. */
  readonly blocksCached: number;
  /** Steps since the start, and the time they took. */
  readonly steps: number;
  readonly busySeconds: number;
}

/** The experts of one stage. */
export interface StageExpertStats {
  readonly stage: string;
  readonly ranks: number;
  /** Index in the model of each layer with experts. */
  readonly layers: readonly number[];
  /** `[layer][logical expert]`: tokens routed to it since the start. */
  readonly tokens: readonly (readonly number[])[];
  /** `[layer][slot]`: the logical expert that lives there; rank `r` owns slots `r * slotsPerRank` and on. */
  readonly placement: readonly (readonly number[])[];
  readonly slotsPerRank: number;
  readonly lastMigration?: {
    readonly atUs: number;
    readonly layers: number;
    readonly movedExperts: number;
    readonly movedBytes: number;
    /** Highest over mean load of a rank before and after, by the tokens that led to it. */
    readonly imbalanceBefore: number;
    readonly imbalanceAfter: number;
  };
}

/** One step of one stage, or one hand-over, for timelines. */
export interface StepRecord {
  readonly stepId: number;
  readonly stage: string;
  readonly kind: 'compute' | 'transfer';
  /** On the clock of {@link EngineStats.atUs}. */
  readonly startUs: number;
  readonly endUs: number;
  readonly sequences: number;
  readonly prefillTokens: number;
  readonly decodeSequences: number;
  /** Decode steps that ran as one. */
  readonly fusedSteps: number;
  /** Sequences and tokens of each micro-batch; one entry when the step was not split. */
  readonly microBatches: readonly { readonly sequences: number; readonly tokens: number }[];
  /** What the stage's first rank did when; of a few steps a second, while these figures are read, and else empty. */
  readonly phases: readonly StepPhase[];
}

/** Everything that the embedded engine reports about itself, as plain data. Counters only grow. */
export interface EngineStats {
  /** When this was taken, in microseconds on the engine's clock. */
  readonly atUs: number;
  readonly uptimeSeconds: number;
  readonly generatedTokens: number;
  readonly promptTokens: number;
  /** Prompt tokens that were not computed since their prefix was cached. */
  readonly cachedTokens: number;
  /** `cachedTokens / promptTokens` since the start, 0 without prompts. */
  readonly prefixHitRate: number;
  /** Over the window of `slo.windowSeconds`. */
  readonly generatedTokensPerSecond: number;
  readonly promptTokensPerSecond: number;
  readonly waiting: number;
  readonly running: number;
  readonly finished: number;
  readonly cancelled: number;
  readonly failed: number;
  readonly preemptions: number;
  /** Steps that were lost and computed again, counted by request. */
  readonly requeued: number;
  readonly ttftSeconds: HistogramSnapshot;
  readonly tpotSeconds: HistogramSnapshot;
  readonly interTokenSeconds: HistogramSnapshot;
  readonly decodeBatchSize: HistogramSnapshot;
  readonly slo: SloStats;
  readonly admission: AdmissionStats;
  readonly handovers: number;
  readonly handoverBytes: number;
  readonly stages: readonly StageEngineStats[];
  /** Empty for a model without experts, and before the first counts have come. */
  readonly experts: readonly StageExpertStats[];
  /** The last steps, oldest first. */
  readonly timeline: readonly StepRecord[];
}
