import type { TokenLogprobs } from '@moestack/model';
import type { QueueLoad, Scheduler, SchedulerConfig, StepPlan } from '@moestack/scheduler';
import type { BackendMetrics } from '../backend.js';
import type { Clock } from '../clock.js';
import type { EngineMonitor } from './engine-monitor.js';
import type { StageEngineStats } from './engine-stats.js';
import { PrefixIds } from './prefix-ids.js';
import type { PlacedLogprobs } from './protocol.js';
import { engineFailed, type RankOutcomes, type RankStepEngine } from './rank-step-engine.js';
import { type EndReason, Running, type Submission } from './running.js';
import { TenantTable } from './tenant-table.js';

/** Prefixes that are remembered for each block of the entry stage, and in all: about 30 MB of names. */
const PREFIXES_PER_BLOCK = 4;
const MAX_PREFIXES = 1 << 18;

/** See {@link Engine.inspect}. */
export interface EngineInspection {
  readonly waiting: number;
  readonly running: number;
  readonly preemptions: number;
  readonly requeued: number;
  readonly handovers: number;
  readonly handoverBytes: number;
  readonly stages: readonly StageEngineStats[];
}

/** What an {@link Engine} needs beside its scheduler and ranks. */
export interface EngineOptions {
  /** The scheduler's. */
  readonly config: SchedulerConfig;
  readonly monitor: EngineMonitor;
}

/**
 * Drives the scheduler: hands its plans to the ranks, their outcomes back to it, tokens to the sinks. Everything here
 * is bookkeeping of a few microseconds a step; what takes time happens in the ranks.
 */
export class Engine {
  readonly #scheduler: Scheduler;
  readonly #clock: Clock;
  readonly #ranks: RankStepEngine;
  readonly #running = new Map<number, Running>();
  readonly #config: SchedulerConfig;
  readonly #monitor: EngineMonitor;
  readonly #prefixes: PrefixIds | undefined;
  readonly #tenants: TenantTable;
  #failure: unknown;

  constructor(scheduler: Scheduler, ranks: RankStepEngine, parts: EngineOptions) {
    const { config, monitor } = parts;
    this.#scheduler = scheduler;
    this.#config = config;
    this.#clock = monitor.clock;
    this.#monitor = monitor;
    this.#ranks = ranks;
    const { blocks, ranks: pools = 1, prefixCache } = config.stages.find(({ role }) => role !== 'decode')!;
    if (prefixCache === true) {
      const capacity = Math.min(MAX_PREFIXES, pools * blocks * PREFIXES_PER_BLOCK);
      this.#prefixes = new PrefixIds(config.blockSizeTokens, capacity);
    }
    this.#tenants = new TenantTable(config.fairness?.maxTenants ?? 1, (tenant, weight) =>
      scheduler.setTenantWeight(tenant, weight),
    );
    ranks.listen((error) => this.#fail(error));
  }

  /** Why the engine ended, if it did. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Requests admitted or waiting. */
  get waiting(): number {
    return this.#scheduler.stats.waiting;
  }

  /**
   * Queues a request.
   *
   * @returns a function that cancels it; it does nothing once the request has ended.
   * @throws SchedulerError `scheduler/queue-full`, `scheduler/too-long`.
   */
  submit(submission: Submission): () => void {
    if (this.#failure !== undefined) throw this.#failure;
    const { prompt, maxNewTokens, setup, priority = 0 } = submission;
    // What is cached has no logits, so prompts that are scored are computed.
    const prefix =
      setup.promptLogprobs < 0 ? this.#prefixes?.idsOf(prompt, submission.tenant?.id) : undefined;
    const id = this.#scheduler.submit({
      promptTokens: prompt.length,
      maxNewTokens,
      arrivalUs: this.#clock.nowUs(),
      priority,
      tenant: this.#config.fairness === undefined ? 0 : this.#tenants.numberOf(submission.tenant),
      ...(prefix !== undefined && { prefix }),
    });
    const running = new Running(id, submission, this.#ranks.names.length);
    this.#running.set(id, running);
    this.#guard(() => this.#pump());
    return () => this.#cancel(running);
  }

  metrics(): BackendMetrics {
    const { stats } = this.#scheduler;
    return {
      runningRequests: this.#running.size - Math.min(stats.waiting, this.#running.size),
      waitingRequests: stats.waiting,
      decodeBatchSize: this.#monitor.decodeBatch.snapshot(),
      handoverBytes: this.#ranks.handoverBytes,
      handovers: this.#ranks.handovers,
      stages: stats.stages.map((stage, index) => ({
        stage: this.#ranks.names[index] ?? String(index),
        usedBlocks: stage.totalBlocks - stage.freeBlocks,
        totalBlocks: stage.totalBlocks,
      })),
    };
  }

  /** What stands before a request that would come now. */
  load(): QueueLoad {
    return this.#scheduler.load();
  }

  /** Tokens of a prompt that are cached now for its owner. */
  cachedTokensOf(prompt: Int32Array, owner?: string): number {
    const prefix = this.#prefixes?.idsOf(prompt, owner);
    return prefix === undefined ? 0 : this.#scheduler.cachedTokensFor(prefix);
  }

  /** What the engine knows of itself, beyond what its monitor has seen. */
  inspect(): EngineInspection {
    const { stats } = this.#scheduler;
    return {
      waiting: stats.waiting,
      running: this.#running.size - Math.min(stats.waiting, this.#running.size),
      preemptions: stats.preemptions,
      requeued: stats.requeued,
      handovers: this.#ranks.handovers,
      handoverBytes: this.#ranks.handoverBytes,
      stages: stats.stages.map((stage, index) => {
        const { role, tokenBudget, maxSequences } = this.#config.stages[index]!;
        return {
          stage: this.#ranks.names[index] ?? String(index),
          role,
          ranks: this.#ranks.channelOf(index).ranks,
          tokenBudget,
          maxSequences,
          running: stage.running,
          handoverWaiting: stage.handoverWaiting,
          blocksTotal: stage.totalBlocks,
          blocksUsed: stage.totalBlocks - stage.freeBlocks,
          blocksCached: stage.cachedBlocks,
          steps: stage.steps,
          busySeconds: stage.busyUs / 1e6,
        };
      }),
    };
  }

  /** Ends the ranks; what runs fails with `reason`. */
  async close(reason: unknown): Promise<void> {
    this.#fail(reason);
    await this.#ranks.close(reason);
  }

  #pump(): void {
    while (this.#failure === undefined) {
      const startUs = this.#clock.nowUs();
      const plan = this.#scheduler.schedule(startUs);
      if (plan === undefined) return;
      if (plan.kind === 'compute') this.#tell(plan);
      const isTraced = plan.kind === 'compute' && this.#monitor.wantsPhases(plan.stage, startUs);
      this.#ranks.run(plan, undefined, isTraced).then(
        (outcomes) => this.#settle(() => this.#complete(plan, outcomes, startUs)),
        (error) => this.#settle(() => this.#stepFailed(plan, error)),
      );
    }
  }

  /** Brings a rank up to date on the requests of a step. */
  #tell(plan: StepPlan): void {
    for (let i = 0; i < plan.sequences; i++) {
      const running = this.#running.get(plan.requestIds[i]!);
      if (running === undefined) continue;
      if (!running.isKnown) running.sink.onAdmitted?.(this.#scheduler.cachedTokensOf(running.id));
      running.tell(plan.stage, plan.ranks[i]!, this.#ranks);
    }
  }

  #settle(body: () => void): void {
    this.#guard(() => {
      body();
      this.#pump();
    });
  }

  #complete(plan: StepPlan, outcomes: RankOutcomes, startUs: number): void {
    const stage = this.#ranks.names[plan.stage] ?? String(plan.stage);
    this.#monitor.step(plan, stage, { startUs, endUs: this.#clock.nowUs(), phases: outcomes.phases });
    if (plan.kind === 'compute') this.#stepped(plan, outcomes);
    else this.#scheduler.complete(plan.stepId, outcomes, this.#clock.nowUs());
  }

  #stepped(plan: StepPlan, outcomes: RankOutcomes): void {
    const { tokens, finished, logprobs } = outcomes;
    const sampled = logprobs === undefined ? undefined : this.#sortLogprobs(logprobs);
    const ended: [Running, EndReason][] = [];
    for (let i = 0; i < plan.sequences; i++) {
      const running = this.#running.get(plan.requestIds[i]!);
      if (running === undefined || plan.samples[i] !== 1) continue;
      const reason = running.take(plan.stage, tokens[i]!, finished[i] === 1, sampled?.get(running.id));
      if (reason === undefined) continue;
      finished[i] = 1;
      ended.push([running, reason]);
    }
    this.#scheduler.complete(plan.stepId, outcomes, this.#clock.nowUs());
    for (const [running, reason] of ended) {
      this.#forget(running);
      running.sink.onEnd(reason);
    }
  }

  /** Hands prompt log-probabilities on at once, and keeps those of sampled tokens by request. */
  #sortLogprobs(logprobs: readonly PlacedLogprobs[]): Map<number, TokenLogprobs> {
    const sampled = new Map<number, TokenLogprobs>();
    for (const entry of logprobs) {
      const running = this.#running.get(entry.id);
      if (running === undefined) continue;
      if (entry.position < running.setup.promptTokens) running.sink.onPromptLogprobs(entry.position, entry);
      else sampled.set(entry.id, entry);
    }
    return sampled;
  }

  #stepFailed(plan: StepPlan, error: unknown): void {
    // The same step would fail again, so its requests end instead of being queued anew.
    for (let i = 0; i < plan.sequences; i++) {
      const running = this.#running.get(plan.requestIds[i]!);
      if (running === undefined) continue;
      this.#cancel(running);
      running.sink.onError(error);
    }
    this.#scheduler.fail(plan.stepId, this.#clock.nowUs());
  }

  #cancel(running: Running): void {
    if (this.#running.get(running.id) !== running) return;
    this.#scheduler.cancel(running.id);
    this.#forget(running);
    this.#guard(() => this.#pump());
  }

  #forget(running: Running): void {
    this.#running.delete(running.id);
    for (const stage of this.#ranks.names.keys()) running.release(stage, this.#ranks);
  }

  /** An error in the bookkeeping would leave requests waiting for ever. */
  #guard(body: () => void): void {
    if (this.#failure !== undefined) return;
    try {
      body();
    } catch (error) {
      this.#fail(engineFailed(error));
    }
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    const all = [...this.#running.values()];
    this.#running.clear();
    for (const running of all) running.sink.onError(error);
  }
}
