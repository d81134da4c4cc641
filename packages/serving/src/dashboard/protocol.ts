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
  readonly contextTokens: number;
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
}

/** Tokens of the experts of one stage, and where the experts live. */
export interface StageExpertsView {
  readonly stage: string;
  readonly layers: number;
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
  readonly movedBytes: number | null;
  readonly imbalanceBefore: number;
  readonly imbalanceAfter: number;
}

/** The experts. */
export interface ExpertsEvent {
  readonly stages: readonly StageExpertsView[];
  readonly migration: MigrationView | null;
}

/** What a span of the timeline is about. */
export type SpanKind = 'prefill' | 'decode' | 'attention' | 'experts' | 'communication' | 'transfer';

/** Something that took time on one lane. */
export interface SpanView {
  readonly lane: string;
  readonly name: string;
  readonly kind: SpanKind;
  /** 0 or 1; -1 = the whole step. */
  readonly microBatch: number;
  readonly startUs: number;
  readonly endUs: number;
}

/** Spans since the event before. */
export interface StepsEvent {
  readonly spans: readonly SpanView[];
}

/** The events of `/dashboard/events`, by name. */
export interface DashboardEvents {
  readonly hello: HelloEvent;
  readonly live: LiveEvent;
  readonly experts: ExpertsEvent;
  readonly steps: StepsEvent;
}
