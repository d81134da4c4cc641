import { type MessagePort, type Transferable, Worker } from 'node:worker_threads';
import { type WorkerWorld, watchWorker } from '@moestack/collectives/worker';
import { AbortedError, decodeError } from '@moestack/schemas/errors';
import { ServingError } from '../errors.js';
import type { FromWorker, RankSetup, ToWorker } from './protocol.js';
import type { StepBufferShape } from './step-buffer.js';
import { workerFile } from './worker-file.js';

/** How much of the weights a rank has read. */
export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

/** The group of ranks that a worker belongs to. */
export interface WorldPlace {
  readonly world: WorkerWorld;
  readonly rank: number;
}

/** A stage as the engine sees it. */
export interface StageChannel {
  readonly name: string;
  readonly stepShape: StepBufferShape;
  readonly weightBytes: number;
  readonly blockBytes: number;
  /** Ranks that have sequences of their own; where ranks share attention heads, groups of these. */
  readonly ranks: number;
  /** Threads of such a group, which all keep the cache of its sequences; default 1. */
  readonly copies?: number;
  /** A message to all ranks. */
  post(message: ToWorker): void;
  /** A message to one rank: to thread `copy` of its group, or to all that it concerns. */
  postTo(rank: number, message: ToWorker, transfer?: readonly Transferable[], copy?: number): void;
  /** Where its messages go; `onCrash` once, if it ends by itself. */
  listen(onMessage: (message: FromWorker) => void, onCrash: (error: ServingError) => void): void;
  close(): Promise<void>;
}

/** A rank in a worker thread. */
export class StageWorker {
  readonly name: string;
  weightBytes = 0;
  blockBytes = 0;
  readonly #worker: Worker;
  #onMessage: (message: FromWorker) => void = () => undefined;
  #onCrash: (error: ServingError) => void = () => undefined;
  #ended = false;

  private constructor(name: string, setup: RankSetup) {
    this.name = name;
    // Without execArgv the worker would take over conditions and loaders of the process, which its build does not need.
    this.#worker = new Worker(workerFile(), { name: `moestack-${name}`, workerData: setup, execArgv: [] });
    this.#worker.on('message', (message: FromWorker) => this.#onMessage(message));
    this.#worker.on('error', (cause) => this.#crash(`failed: ${cause.message}`, cause));
    this.#worker.on('exit', (code) => this.#crash(`ended with exit code ${code}`));
  }

  /**
   * Starts the thread and waits until the model is loaded.
   *
   * @throws what the load throws, or {@link AbortedError}.
   */
  static async start(
    name: string,
    setup: RankSetup,
    options: { onProgress?: (progress: LoadProgress) => void; signal?: AbortSignal; world?: WorldPlace },
  ): Promise<StageWorker> {
    const { onProgress, signal } = options;
    if (signal?.aborted) throw new AbortedError('the start of the engine', signal.reason);
    const worker = new StageWorker(name, setup);
    if (options.world !== undefined)
      void watchWorker(options.world.world, options.world.rank, worker.#worker);
    let onAbort: () => void = () => undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        onAbort = () => reject(new AbortedError('the start of the engine', signal?.reason));
        signal?.addEventListener('abort', onAbort, { once: true });
        worker.listen((message) => {
          if (message.type === 'progress') onProgress?.(message);
          if (message.type === 'failed') reject(decodeError(message.error));
          if (message.type !== 'ready') return;
          worker.weightBytes = message.weightBytes;
          worker.blockBytes = message.blockBytes;
          resolve();
        }, reject);
      });
    } catch (error) {
      await worker.close();
      throw error;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    return worker;
  }

  post(message: ToWorker, transfer: readonly Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  listen(onMessage: (message: FromWorker) => void, onCrash: (error: ServingError) => void): void {
    this.#onMessage = onMessage;
    this.#onCrash = onCrash;
  }

  async close(): Promise<void> {
    this.#ended = true;
    await this.#worker.terminate();
  }

  #crash(what: string, cause?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onCrash(
      new ServingError({
        code: 'serving/engine-failed',
        message: `the ${this.name} rank ${what}`,
        remedy: 'restart the server; if it happens again, use a smaller batch, context or model',
        status: 500,
        cause,
      }),
    );
  }
}

/** Connects every rank of one stage with every rank of the next, so that blocks go from one to the other without passing the controller. */
export function connect(first: StageChannel, second: StageChannel): void {
  const { copies = 1 } = second;
  for (let from = 0; from < first.ranks; from++) {
    for (let to = 0; to < second.ranks; to++) {
      for (let copy = 0; copy < copies; copy++) {
        const { port1, port2 } = new MessageChannel() as unknown as {
          port1: MessagePort;
          port2: MessagePort;
        };
        first.postTo(from, { type: 'link', link: to * copies + copy, port: port1 }, [port1], 0);
        second.postTo(to, { type: 'link', link: from, port: port2 }, [port2], copy);
      }
    }
  }
}
