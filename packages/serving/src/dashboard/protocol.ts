/** What happened in one second. Times are milliseconds; `null` = nothing to measure. */
export interface Sample {
  /** Wall clock, seconds since 1970. */
  readonly atSeconds: number;
  readonly generatedTokens: number;
  readonly promptTokens: number;
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV blocks in use, 0 to 1, of the fullest stage. */
  readonly kvUse: number | null;
  /** Over the requests of the last `windowSeconds`. */
  readonly ttftP50: number | null;
  readonly ttftP90: number | null;
  readonly tpotP50: number | null;
  readonly tpotP90: number | null;
  /** Share of the requests of the window that met every target; `null` without targets or requests. */
  readonly attained: number | null;
  readonly finished: number;
  readonly failed: number;
}

/** Latency targets in milliseconds. */
export interface SloView {
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
}

/** The first event of a connection. */
export interface HelloEvent {
  readonly model: string;
  readonly models: readonly string[];
  readonly contextTokens: number | null;
  readonly backend: string;
  readonly startedAtSeconds: number;
  readonly slo: SloView;
  readonly windowSeconds: number;
  readonly historySeconds: number;
  readonly samples: readonly Sample[];
  /** Generating wants an API key. */
  readonly needsKey: boolean;
}

/** KV blocks of a stage. */
export interface StageView {
  readonly stage: string;
  readonly usedBlocks: number;
  readonly totalBlocks: number;
}

/** One server of a pool. */
export interface TargetView {
  readonly name: string;
  readonly state: 'healthy' | 'unhealthy' | 'open' | 'half-open';
  readonly inFlight: number;
  readonly requests: number;
  readonly failures: number;
}

/** A request that has ended. Holds no text of it. */
export interface RequestView {
  readonly id: string;
  readonly endpoint: string;
  readonly status: number;
  readonly outcome: string;
  readonly promptTokens: number | null;
  readonly generatedTokens: number;
  readonly ttftMs: number | null;
  readonly tpotMs: number | null;
  readonly durationMs: number;
}

/** Sums since the start. */
export interface TotalsView {
  readonly requests: number;
  /** Before they began: over a limit or a target, or wrong. */
  readonly refused: number;
  readonly failed: number;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly cachedTokens: number;
  readonly preemptions: number | null;
}

/** The figures of one second. */
export interface LiveEvent {
  readonly sample: Sample;
  readonly stages: readonly StageView[];
  readonly targets: readonly TargetView[];
  readonly recent: readonly RequestView[];
  readonly totals: TotalsView;
  /** Why requests fail now; null while all backends are well. */
  readonly problem: string | null;
}

/** Tokens of the experts of one stage, and where the experts live. */
export interface StageExpertsView {
  readonly stage: string;
  readonly layers: number;
  /** Index in the model of each layer. */
  readonly layerNames: readonly number[];
  readonly experts: number;
  readonly ranks: number;
  /** `[layers, experts]`: tokens since the start. */
  readonly tokens: readonly number[];
  /** `[layers, ranks * slotsPerRank]`: the expert in each slot; empty when the stage has one rank. */
  readonly slots: readonly number[];
}

/** Experts that moved. */
export interface MigrationView {
  readonly stage: string;
  readonly atSeconds: number;
  readonly layers: number;
  readonly movedExperts: number;
  readonly movedBytes: number;
  readonly imbalanceBefore: number;
  readonly imbalanceAfter: number;
}

/** The experts. */
export interface ExpertsEvent {
  readonly stages: readonly StageExpertsView[];
  readonly migration: MigrationView | null;
}

/** One step of a stage, or one of its micro-batches, or a hand-over of KV blocks. */
export interface SpanView {
  readonly stage: string;
  readonly kind: 'prefill' | 'decode' | 'mixed' | 'transfer';
  /** 0 or 1 when the step was split in two; else -1. */
  readonly microBatch: number;
  readonly startUs: number;
  readonly endUs: number;
  readonly sequences: number;
  readonly tokens: number;
}

/** What a rank did for one layer of a step. */
export interface PhaseView {
  readonly phase: 'attention' | 'dispatch' | 'experts' | 'combine';
  readonly layer: number;
  readonly microBatch: number;
  readonly startUs: number;
  readonly endUs: number;
}

/** A step of a stage whose phases are known. */
export interface StepPhasesView {
  readonly stage: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly phases: readonly PhaseView[];
}

/** Spans since the event before, and the newest step of each stage in it that told its phases. */
export interface StepsEvent {
  readonly spans: readonly SpanView[];
  readonly phases: readonly StepPhasesView[];
}

/** The events of `/dashboard/events`, by name. */
export interface DashboardEvents {
  readonly hello: HelloEvent;
  readonly live: LiveEvent;
  readonly experts: ExpertsEvent;
  readonly steps: StepsEvent;
}
