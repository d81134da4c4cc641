import {
  AdmissionController,
  type AdmissionDecision,
  type AdmissionPolicy,
  type AdmissionRequest,
  type QueueLoad,
  type SchedulerConfig,
  type StepPlan,
} from '@moestack/scheduler';
import type { Clock } from '../clock.js';
import { batchBounds, CumulativeHistogram, tpotBounds, ttftBounds } from './cumulative-histogram.js';
import type { AdmissionStats, EngineStats, SloTargets } from './engine-stats.js';
import { SloWindow } from './slo-window.js';
import { StepTimeline, type StepTimes } from './step-timeline.js';

const WINDOW_SECONDS = 60;
const TIMELINE_STEPS = 512;
/** Phases are taken of one step of a stage in so long, while the figures are read. */
const PHASE_INTERVAL_US = 250_000;
const READ_US = 3_000_000;

/** What an {@link EngineMonitor} judges by. */
export interface MonitorOptions {
  readonly clock: Clock;
  readonly scheduler: SchedulerConfig;
  readonly slo: SloTargets;
  readonly admission: Omit<AdmissionPolicy, 'ttftUs' | 'tpotUs'>;
}

/** How a request ended. */
export type RequestEnd = 'finished' | 'cancelled' | 'failed';

/** What a request was, once it has ended. */
export interface RequestReport {
  readonly end: RequestEnd;
  readonly ttftUs: number | undefined;
  /** Mean time between tokens; undefined for fewer than two. */
  readonly tpotUs: number | undefined;
  readonly generatedTokens: number;
  readonly maxNewTokens: number;
  readonly decision: AdmissionDecision | undefined;
}

type Figures = Pick<
  EngineStats,
  | 'atUs'
  | 'uptimeSeconds'
  | 'generatedTokens'
  | 'promptTokens'
  | 'cachedTokens'
  | 'prefixHitRate'
  | 'generatedTokensPerSecond'
  | 'promptTokensPerSecond'
  | 'finished'
  | 'cancelled'
  | 'failed'
  | 'ttftSeconds'
  | 'tpotSeconds'
  | 'interTokenSeconds'
  | 'decodeBatchSize'
  | 'slo'
  | 'admission'
  | 'timeline'
>;

/**
 * Watches an engine, across restarts of its ranks: what requests got, what steps cost, and whether the next request would
 * get what is promised.
 */
export class EngineMonitor {
  readonly clock: Clock;
  /** Whether latencies are promised. */
  readonly hasTargets: boolean;
  readonly decodeBatch: CumulativeHistogram = new CumulativeHistogram(batchBounds);
  readonly #controller: AdmissionController;
  readonly #startUs: number;
  readonly #window: SloWindow;
  readonly #timeline = new StepTimeline(TIMELINE_STEPS);
  readonly #ttft = new CumulativeHistogram(ttftBounds);
  readonly #tpot = new CumulativeHistogram(tpotBounds);
  readonly #interToken = new CumulativeHistogram(tpotBounds);
  readonly #ends: Record<RequestEnd, number> = { finished: 0, cancelled: 0, failed: 0 };
  readonly #refused = { ttft: 0, tpot: 0, queue: 0 };
  #accepted = 0;
  #shortened = 0;
  #deferred = 0;
  #generatedTokens = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  #newest: AdmissionDecision | undefined;
  /** When the figures were read, and when a step of each stage was asked for its phases. */
  #readUs = Number.NEGATIVE_INFINITY;
  readonly #phasesUs: number[] = [];

  constructor({ clock, scheduler, slo, admission }: MonitorOptions) {
    this.clock = clock;
    this.hasTargets = slo.ttftSeconds !== undefined || slo.tpotSeconds !== undefined;
    this.#startUs = clock.nowUs();
    this.#window = new SloWindow(slo, WINDOW_SECONDS, this.#startUs);
    this.#controller = new AdmissionController(scheduler, {
      ...admission,
      ...(slo.ttftSeconds !== undefined && { ttftUs: slo.ttftSeconds * 1e6 }),
      ...(slo.tpotSeconds !== undefined && { tpotUs: slo.tpotSeconds * 1e6 }),
    });
  }

  /** Decides about a request that came now. */
  decide(load: QueueLoad, request: AdmissionRequest): AdmissionDecision {
    const decision = this.#controller.decide(load, request);
    this.#newest = decision;
    if (decision.action === 'reject') this.refuse(decision.reason!);
    return decision;
  }

  /** A request was refused. */
  refuse(reason: 'ttft' | 'tpot' | 'queue'): void {
    this.#refused[reason]++;
    this.#window.end(this.clock.nowUs(), {
      ttftSeconds: undefined,
      tpotSeconds: undefined,
      generatedTokens: 0,
      completed: false,
    });
  }

  /** A request was taken. */
  accept(decision: AdmissionDecision | undefined): void {
    this.#accepted++;
    if (decision?.action === 'shorten') this.#shortened++;
    if (decision?.action === 'defer') this.#deferred++;
  }

  /** A request was admitted to its first step. */
  admitted(promptTokens: number, cachedTokens: number): void {
    this.#promptTokens += promptTokens;
    this.#cachedTokens += cachedTokens;
    this.#window.tokens(this.clock.nowUs(), 0, promptTokens);
  }

  /** A token came, `gapUs` after the one before it. */
  token(nowUs: number, gapUs: number | undefined): void {
    this.#generatedTokens++;
    this.#window.tokens(nowUs, 1, 0);
    if (gapUs !== undefined) this.#interToken.observe(gapUs / 1e6);
  }

  /** A first token came. */
  firstToken(ttftUs: number): void {
    this.#ttft.observe(ttftUs / 1e6);
  }

  /** A request has ended. A client that left is no judgement on the engine. */
  ended(report: RequestReport): void {
    const { end, ttftUs, tpotUs, generatedTokens, maxNewTokens, decision } = report;
    this.#ends[end]++;
    if (end === 'cancelled') return;
    if (tpotUs !== undefined && end === 'finished') this.#tpot.observe(tpotUs / 1e6);
    this.#window.end(this.clock.nowUs(), {
      ttftSeconds: ttftUs === undefined ? undefined : ttftUs / 1e6,
      tpotSeconds: tpotUs === undefined ? undefined : tpotUs / 1e6,
      generatedTokens,
      completed: end === 'finished',
    });
    if (end !== 'finished' || ttftUs === undefined || decision === undefined) return;
    this.#controller.observeOutcome({
      predictedTtftUs: decision.predictedTtftUs,
      ttftUs,
      predictedTpotUs: decision.predictedTpotUs,
      ...(tpotUs !== undefined && { tpotUs }),
      generatedTokens,
      maxNewTokens,
    });
  }

  /** Whether the next step of a stage should tell its phases: now and then, as long as somebody looks. */
  wantsPhases(stage: number, nowUs: number): boolean {
    if (nowUs - this.#readUs > READ_US) return false;
    if (nowUs - (this.#phasesUs[stage] ?? -PHASE_INTERVAL_US) < PHASE_INTERVAL_US) return false;
    this.#phasesUs[stage] = nowUs;
    return true;
  }

  /** A step, or a hand-over, is done. */
  step(plan: StepPlan, stage: string, times: StepTimes): void {
    const { startUs, endUs } = times;
    this.#timeline.add(plan, stage, times);
    if (plan.kind === 'transfer') return;
    if (plan.decodeSequences > 0) this.decodeBatch.observe(plan.decodeSequences);
    this.#controller.observeStep(plan, endUs - startUs);
  }

  figures(): Figures {
    const atUs = this.clock.nowUs();
    this.#readUs = atUs;
    const { generatedTokensPerSecond, promptTokensPerSecond, ...slo } = this.#window.snapshot(atUs);
    return {
      atUs,
      uptimeSeconds: (atUs - this.#startUs) / 1e6,
      generatedTokens: this.#generatedTokens,
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cachedTokens,
      prefixHitRate: this.#promptTokens > 0 ? this.#cachedTokens / this.#promptTokens : 0,
      generatedTokensPerSecond,
      promptTokensPerSecond,
      ...this.#ends,
      ttftSeconds: this.#ttft.snapshot(),
      tpotSeconds: this.#tpot.snapshot(),
      interTokenSeconds: this.#interToken.snapshot(),
      decodeBatchSize: this.decodeBatch.snapshot(),
      slo,
      admission: this.#admission(),
      timeline: this.#timeline.snapshot(),
    };
  }

  #admission(): AdmissionStats {
    const newest = this.#newest;
    return {
      accepted: this.#accepted,
      shortened: this.#shortened,
      deferred: this.#deferred,
      refused: { ...this.#refused },
      ...(newest !== undefined &&
        newest.predictedTtftUs > 0 && {
          predictedTtftSeconds: newest.predictedTtftUs / 1e6,
          predictedTpotSeconds: newest.predictedTpotUs / 1e6,
        }),
    };
  }
}
