import type { TokenLogprobs } from '@moestack/model';
import type { Scheduler, StepPlan } from '@moestack/scheduler';
import { decodeError } from '@moestack/schemas/errors';
import type { BackendMetrics } from '../backend.js';
import type { Clock } from '../clock.js';
import { ServingError } from '../errors.js';
import { BatchHistogram } from './batch-histogram.js';
import type { FromWorker, PlacedLogprobs } from './protocol.js';
import { type EndReason, Running, type Submission } from './running.js';
import { StagePort } from './stage-port.js';
import type { StageChannel } from './stage-worker.js';

/**
 * Drives the scheduler: hands its plans to the ranks, their outcomes back to it, tokens to the sinks. Everything here
 * is bookkeeping of a few microseconds a step; what takes time happens in the ranks.
 */
export class Engine {
  readonly #scheduler: Scheduler;
  readonly #clock: Clock;
  readonly #stages: readonly StagePort[];
  readonly #running = new Map<number, Running>();
  readonly #decodeBatch = new BatchHistogram();
  #handoverBytes = 0;
  #handovers = 0;
  #transfers = 0;
  #failure: unknown;

  constructor(scheduler: Scheduler, channels: readonly StageChannel[], clock: Clock) {
    this.#scheduler = scheduler;
    this.#clock = clock;
    this.#stages = channels.map((channel) => new StagePort(channel));
    channels.forEach((channel, stage) => {
      channel.listen(
        (message) => this.#guard(() => this.#receive(stage, message)),
        (error) => this.#fail(error),
      );
    });
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
    const id = this.#scheduler.submit({
      promptTokens: submission.prompt.length,
      maxNewTokens: submission.maxNewTokens,
      arrivalUs: this.#clock.nowUs(),
    });
    const running = new Running(id, submission, this.#stages.length);
    this.#running.set(id, running);
    this.#guard(() => this.#pump());
    return () => this.#cancel(running);
  }

  metrics(): BackendMetrics {
    const { stats } = this.#scheduler;
    return {
      runningRequests: this.#running.size - Math.min(stats.waiting, this.#running.size),
      waitingRequests: stats.waiting,
      decodeBatchSize: this.#decodeBatch.snapshot(),
      handoverBytes: this.#handoverBytes,
      handovers: this.#handovers,
      stages: stats.stages.map((stage, index) => ({
        stage: this.#stages[index]?.channel.name ?? String(index),
        usedBlocks: stage.totalBlocks - stage.freeBlocks,
        totalBlocks: stage.totalBlocks,
      })),
    };
  }

  /** Ends the ranks; what runs fails with `reason`. */
  async close(reason: unknown): Promise<void> {
    this.#fail(reason);
    await Promise.all(this.#stages.map((stage) => stage.channel.close()));
  }

  #pump(): void {
    for (;;) {
      const plan = this.#scheduler.schedule(this.#clock.nowUs());
      if (plan === undefined) return;
      if (plan.kind === 'transfer') this.#startTransfer(plan);
      else this.#startStep(plan);
    }
  }

  #startStep(plan: StepPlan): void {
    const stage = this.#stages[plan.stage]!;
    for (let i = 0; i < plan.sequences; i++) {
      this.#running.get(plan.requestIds[i]!)?.tell(plan.stage, stage.channel);
    }
    const buffer = stage.begin(plan);
    stage.channel.post({ type: 'step', buffer });
  }

  #startTransfer(plan: StepPlan): void {
    const transfer = this.#transfers++;
    const target = this.#stages[plan.stage]!;
    const source = this.#stages[plan.sourceStage]!;
    let total = 0;
    for (let i = 0; i < plan.sequences; i++) total += plan.blockCounts[i]!;
    const blocks = new Int32Array(total);
    let length = 0;
    for (let i = 0; i < plan.sequences; i++) {
      const row = i * plan.blockTableStride;
      for (let b = 0; b < plan.blockCounts[i]!; b++) blocks[length++] = plan.sourceBlockTables[row + b]!;
    }
    const buffer = target.begin(plan);
    source.channel.post({ type: 'export', transfer, blocks });
    target.channel.post({ type: 'import', transfer, buffer });
  }

  #receive(stage: number, message: FromWorker): void {
    if (message.type === 'stepped') this.#stepped(stage, message.buffer, message.logprobs);
    else if (message.type === 'imported') {
      const { plan, step } = this.#stages[stage]!.end(message.buffer);
      this.#handoverBytes += message.bytes;
      this.#handovers += plan.sequences;
      this.#scheduler.complete(plan.stepId, step, this.#clock.nowUs());
    } else if (message.type === 'failed') {
      const error = decodeError(message.error);
      if (message.buffer < 0) this.#fail(engineFailed(error));
      else this.#stepFailed(stage, message.buffer, error);
    }
    if (this.#failure === undefined) this.#pump();
  }

  #stepped(stage: number, buffer: number, logprobs: readonly PlacedLogprobs[] | undefined): void {
    const { plan, step } = this.#stages[stage]!.end(buffer);
    if (plan.decodeSequences > 0) this.#decodeBatch.observe(plan.decodeSequences);
    const sampled = logprobs === undefined ? undefined : this.#sortLogprobs(logprobs);
    const ended: [Running, EndReason][] = [];
    for (let i = 0; i < plan.sequences; i++) {
      const running = this.#running.get(plan.requestIds[i]!);
      if (running === undefined || plan.samples[i] !== 1) continue;
      const reason = running.take(stage, step.tokens[i]!, step.finished[i] === 1, sampled?.get(running.id));
      if (reason === undefined) continue;
      step.finished[i] = 1;
      ended.push([running, reason]);
    }
    this.#scheduler.complete(plan.stepId, step, this.#clock.nowUs());
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

  #stepFailed(stage: number, buffer: number, error: unknown): void {
    const { plan } = this.#stages[stage]!.end(buffer);
    // The same step would fail again, so its requests end instead of being queued anew.
    for (let i = 0; i < plan.sequences; i++) {
      const running = this.#running.get(plan.requestIds[i]!);
      if (running === undefined) continue;
      this.#cancel(running);
      running.sink.onError(engineFailed(error));
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
    this.#stages.forEach((stage, index) => {
      if (running.isKnownTo(index)) stage.channel.post({ type: 'release', id: running.id });
    });
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

function engineFailed(cause: unknown): ServingError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ServingError({
    code: 'serving/engine-failed',
    message: `the engine failed: ${reason}`,
    remedy: 'send the request again; if that fails too, restart the server',
    status: 500,
    cause,
  });
}
