import type { Transferable } from 'node:worker_threads';
import { WorkerWorld } from '@moestack/collectives/worker';
import { type DeepseekConfig, type ExpertRoutingOptions, expertSharedBytes } from '@moestack/model';
import type { ServingError } from '../errors.js';
import type { FromWorker, PlacedLogprobs, RankSetup, ToWorker } from './protocol.js';
import { type LoadProgress, type StageChannel, StageWorker } from './stage-worker.js';
import type { StepBufferShape } from './step-buffer.js';
import type { StepPhase } from './step-phases.js';

/** What a {@link StageGroup} starts from. */
export interface StageGroupOptions {
  readonly name: string;
  /** Threads of the stage. */
  readonly ranks: number;
  /** Of these, the ones that share the attention heads of a sequence. */
  readonly tensor: number;
  readonly config: DeepseekConfig;
  readonly routing: ExpertRoutingOptions;
  readonly spareSlots: number;
  readonly setup: Omit<RankSetup, 'group'>;
  readonly onProgress?: (rank: number, progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

/** What the ranks have yet to answer about one step buffer. */
interface Expected {
  left: number;
  logprobs: PlacedLogprobs[];
  /** Of the first thread. */
  phases: StepPhase[] | undefined;
  bytes: number;
}

/** Takes what a rank says of its experts. */
export type ExpertListener = (
  rank: number,
  message: Extract<FromWorker, { type: 'load' | 'experts-staged' }>,
) => void;

/**
 * A stage of several ranks, each a thread, or several that share the attention heads of its sequences: each has the cache of its own sequences, all of them the experts. Every rank takes part in every step; it finds its sequences in
 * the shared step buffer. To the engine the stage answers as one.
 */
export class StageGroup implements StageChannel {
  readonly name: string;
  readonly stepShape: StepBufferShape;
  readonly weightBytes: number;
  readonly blockBytes: number;
  readonly ranks: number;
  readonly copies: number;
  /** Threads of the stage. */
  readonly threads: number;
  readonly #workers: readonly StageWorker[];
  readonly #expected = new Map<number, Expected>();
  #onMessage: (message: FromWorker) => void = () => undefined;
  #onRank: ExpertListener = () => undefined;

  private constructor(options: StageGroupOptions, workers: readonly StageWorker[]) {
    this.name = options.name;
    this.stepShape = options.setup.stepShape;
    this.copies = options.tensor;
    this.threads = workers.length;
    this.ranks = workers.length / options.tensor;
    this.#workers = workers;
    this.weightBytes = workers.reduce((sum, worker) => sum + worker.weightBytes, 0);
    this.blockBytes = workers[0]!.blockBytes;
  }

  /** Starts the threads and waits until all have loaded their share. */
  static async start(options: StageGroupOptions): Promise<StageGroup> {
    const { name, ranks, tensor, config, routing, setup, spareSlots, signal } = options;
    const { maxBatchTokens, maxSequences, microBatches = 1 } = setup.runtime;
    const sizes = { ranks, tensor, maxBatchTokens, maxSequences, microBatches };
    const world =
      ranks === 1
        ? undefined
        : WorkerWorld.create({
            ranks,
            bytesPerRank: expertSharedBytes(config, { ...routing, ...sizes }),
          });
    const started = Array.from({ length: ranks }, (_, rank) =>
      StageWorker.start(
        world === undefined ? name : `${name}-${rank}`,
        world === undefined
          ? setup
          : { ...setup, group: { handle: world.handle(rank), routing, spareSlots, tensor } },
        {
          onProgress: (progress) => options.onProgress?.(rank, progress),
          ...(signal && { signal }),
          ...(world && { world: { world, rank } }),
        },
      ),
    );
    try {
      return new StageGroup(options, await Promise.all(started));
    } catch (error) {
      // Those that have loaded wait for the one that failed: their end tells the rest.
      for (let rank = 0; rank < ranks; rank++) world?.fail(rank, 'the stage could not start');
      for (const settled of await Promise.allSettled(started)) {
        if (settled.status === 'fulfilled') await settled.value.close();
      }
      throw error;
    }
  }

  post(message: ToWorker): void {
    if (message.type === 'step') this.#expect(message.buffer, this.threads);
    for (const worker of this.#workers) worker.post(message);
  }

  postTo(rank: number, message: ToWorker, transfer: readonly Transferable[] = [], copy?: number): void {
    if (message.type === 'import') this.#expect(message.buffer, 1);
    const first = rank * this.copies;
    if (copy !== undefined) this.#workers[first + copy]!.post(message, transfer);
    else for (let i = 0; i < this.copies; i++) this.#workers[first + i]!.post(message);
  }

  listen(onMessage: (message: FromWorker) => void, onCrash: (error: ServingError) => void): void {
    this.#onMessage = onMessage;
    for (const [rank, worker] of this.#workers.entries()) {
      worker.listen((message) => this.#receive(rank, message), onCrash);
    }
  }

  /** Says who gets the messages about experts. */
  listenToExperts(onRank: ExpertListener): void {
    this.#onRank = onRank;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }

  #expect(buffer: number, count: number): void {
    const expected = this.#expected.get(buffer);
    if (expected === undefined)
      this.#expected.set(buffer, { left: count, logprobs: [], phases: undefined, bytes: 0 });
    else expected.left += count;
  }

  #receive(rank: number, message: FromWorker): void {
    switch (message.type) {
      case 'stepped':
      case 'imported':
        this.#count(rank, message);
        break;
      case 'load':
      case 'experts-staged':
        this.#onRank(rank, message);
        break;
      case 'failed':
        // Ranks that share experts are out of step once one of them has failed.
        this.#expected.delete(message.buffer);
        this.#onMessage(this.threads === 1 ? message : { ...message, buffer: -1 });
        break;
      default:
        this.#onMessage(message);
    }
  }

  #count(rank: number, message: Extract<FromWorker, { type: 'stepped' | 'imported' }>): void {
    const { buffer } = message;
    const expected = this.#expected.get(buffer);
    if (expected === undefined) return;
    // Threads that share heads all have the logits of their sequences: one speaks for them.
    const speaks = rank % this.copies === 0;
    if (message.type === 'stepped') {
      expected.logprobs.push(...((speaks && message.logprobs) || []));
      if (rank === 0) expected.phases = message.phases;
    } else {
      expected.bytes += message.bytes;
    }
    if (--expected.left > 0) return;
    this.#expected.delete(buffer);
    const { logprobs, phases, bytes } = expected;
    if (message.type === 'imported') this.#onMessage({ type: 'imported', buffer, bytes });
    else
      this.#onMessage({
        type: 'stepped',
        buffer,
        ...(logprobs.length > 0 && { logprobs }),
        ...(phases && { phases }),
      });
  }
}
