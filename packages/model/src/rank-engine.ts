import { createRequire } from 'node:module';
import type { Worker } from 'node:worker_threads';
import { launchWorkers, type WorkerGroup } from '@moestack/collectives/worker';
import { AbortedError, decodeError } from '@moestack/schemas/errors';
import type { DeepseekConfig } from './config.js';
import { ModelError } from './errors.js';
import type { ExpertRoutingOptions } from './parallel-options.js';
import type { FromRank, RankSetup, ToRank } from './rank-protocol.js';
import type { ModelRuntime } from './runtime.js';
import { badOption, limitsOf, type ModelRuntimeOptions } from './runtime-options.js';
import type { SequenceEngine } from './sequence-engine.js';
import { expertSharedBytes } from './shared-bytes.js';
import type { BatchLimits, StepBatch } from './step-batch.js';

const MAXIMUM_RANKS = 64;
const CLOSE_MILLISECONDS = 5000;
const NO_TOKENS = new Int32Array(0);

interface Waiting {
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Options of {@link RankEngine.start}. */
export interface RankEngineOptions {
  readonly path: string;
  readonly config: DeepseekConfig;
  readonly ranks: number;
  /** Ranks that share the attention heads. */
  readonly tensor: number;
  readonly routing: ExpertRoutingOptions;
  readonly runtime: ModelRuntimeOptions;
}

/** One sequence on ranks in worker threads: the first, or the first few that share its heads, have its tokens and cache, all of them its experts. */
export class RankEngine implements SequenceEngine {
  readonly config: DeepseekConfig;
  readonly limits: BatchLimits;
  private readonly ranks: number;
  private readonly tensor: number;
  private readonly group: WorkerGroup;
  private readonly progress: { loadedBytes: number; totalBytes: number }[];
  private onProgress: ModelRuntimeOptions['onProgress'];
  private onReady: () => void = () => undefined;
  private loaded = 0;
  private waiting: Waiting | undefined;
  private failure: unknown;
  private isClosed = false;

  private constructor(options: RankEngineOptions, limits: BatchLimits, bytesPerRank: number) {
    const {
      onProgress,
      signal: _s,
      onExpertLoad: _,
      parallel: _p,
      emulate: _e,
      ...runtime
    } = options.runtime;
    this.config = options.config;
    this.limits = limits;
    this.ranks = options.ranks;
    this.tensor = options.tensor;
    this.onProgress = onProgress;
    this.progress = Array.from({ length: options.ranks }, () => ({ loadedBytes: 0, totalBytes: 0 }));
    const data: RankSetup = {
      path: options.path,
      runtime,
      routing: { ...options.routing, tensor: options.tensor },
    };
    this.group = launchWorkers({
      ranks: options.ranks,
      entry: workerFile(),
      data,
      bytesPerRank,
      // Without execArgv the workers would take over conditions and loaders of the process, which their build does not need.
      worker: { execArgv: [], name: 'moestack-rank' },
    });
    for (const [rank, worker] of this.group.workers.entries()) this.listen(worker, rank);
  }

  /**
   * Starts the threads and waits until each has loaded its share.
   *
   * @throws ModelError for options that do not fit, before a thread is started; what a rank's load throws; AbortedError.
   */
  static async start(options: RankEngineOptions): Promise<RankEngine> {
    const { config, ranks } = options;
    if (!Number.isInteger(ranks) || ranks < 1 || ranks > MAXIMUM_RANKS) {
      throw badOption('ranks', ranks, `a whole number from 1 to ${MAXIMUM_RANKS}`);
    }
    const { signal } = options.runtime;
    if (signal?.aborted) throw new AbortedError('loading the model', signal.reason);
    const limits = limitsOf(options.runtime, config);
    const { maxBatchTokens, maxSequences } = limits;
    const sizes = { ranks, tensor: options.tensor, maxBatchTokens, maxSequences };
    const bytes = expertSharedBytes(config, { ...options.routing, ...sizes });
    const engine = new RankEngine(options, limits, bytes);
    try {
      await engine.untilLoaded(signal);
    } catch (error) {
      await engine.terminate();
      throw error;
    }
    return engine;
  }

  /** There is none: each rank's runtime is in a thread of its own. */
  get runtime(): ModelRuntime {
    throw new ModelError({
      code: 'model/no-runtime',
      message: `the model runs on ${this.ranks} ranks, whose runtimes are in threads of their own`,
      value: this.ranks,
      remedy: 'load it with ranks: 1, or call openRuntime with parallel on each rank',
    });
  }

  forward(batch: StepBatch): Promise<Float32Array> {
    return this.step(batch, false);
  }

  forwardAll(batch: StepBatch): Promise<Float32Array> {
    return this.step(batch, true);
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    this.fail(
      new ModelError({ code: 'model/closed', message: 'the model was closed', remedy: 'load it again' }),
    );
    for (const worker of this.group.workers) worker.postMessage({ type: 'close' } satisfies ToRank);
    const timer = setTimeout(() => void this.group.terminate(), CLOSE_MILLISECONDS);
    await this.group.exits();
    clearTimeout(timer);
  }

  private step(batch: StepBatch, all: boolean): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      if (this.failure !== undefined) {
        reject(this.failure);
        return;
      }
      this.waiting = { resolve, reject };
      const tokens = batch.tokens.slice(0, batch.tokenOffsets[1]);
      const start = batch.contextStarts[0]!;
      this.group.workers.forEach((worker, rank) => {
        const message: ToRank = { type: 'step', tokens: rank < this.tensor ? tokens : NO_TOKENS, start, all };
        worker.postMessage(message);
      });
    });
  }

  private listen(worker: Worker, rank: number): void {
    worker.on('message', (message: FromRank) => {
      if (message.type === 'progress') this.report(rank, message);
      else if (message.type === 'ready') this.countReady();
      else if (message.type === 'stepped' && rank === 0) this.finish(message.logits);
      else if (message.type === 'failed') this.fail(decodeError(message.error));
    });
    worker.on('error', (error) => this.fail(rankFailed(`rank ${rank} failed`, error)));
    worker.on('exit', (code) => this.fail(rankFailed(`rank ${rank} ended with exit code ${code}`)));
  }

  private report(
    rank: number,
    { loadedBytes, totalBytes }: { loadedBytes: number; totalBytes: number },
  ): void {
    this.progress[rank] = { loadedBytes, totalBytes };
    if (this.progress.some((one) => one.totalBytes === 0)) return;
    const sum = { loadedBytes: 0, totalBytes: 0 };
    for (const one of this.progress) {
      sum.loadedBytes += one.loadedBytes;
      sum.totalBytes += one.totalBytes;
    }
    this.onProgress?.(sum);
  }

  private countReady(): void {
    if (++this.loaded === this.ranks) this.onReady();
  }

  private untilLoaded(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.fail(new AbortedError('loading the model', signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      const settle = (then: () => void): void => {
        signal?.removeEventListener('abort', onAbort);
        this.waiting = undefined;
        then();
      };
      this.onReady = () => settle(resolve);
      this.waiting = { resolve: () => undefined, reject: (error) => settle(() => reject(error)) };
    });
  }

  private finish(logits: Float32Array): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.resolve(logits);
  }

  /** After a failed step the ranks are out of step: nothing can follow. */
  private fail(error: unknown): void {
    this.failure ??= error;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.reject(error);
  }

  private async terminate(): Promise<void> {
    this.isClosed = true;
    await this.group.terminate();
  }
}

function workerFile(): string {
  try {
    return createRequire(import.meta.url).resolve('@moestack/model/worker');
  } catch (cause) {
    throw new ModelError({
      code: 'model/no-worker',
      message: 'the worker of @moestack/model is not there',
      remedy: 'install the package as published, or build it',
      cause,
    });
  }
}

function rankFailed(what: string, cause?: unknown): ModelError {
  return new ModelError({
    code: 'model/rank-failed',
    message: `${what}${cause instanceof Error ? `: ${cause.message}` : ''}`,
    remedy: 'load the model again; if it happens again, use fewer ranks or a shorter context',
    ...(cause !== undefined && { cause }),
  });
}
