import { Worker, type WorkerOptions } from 'node:worker_threads';
import { AbortedError } from '@moestack/schemas/errors';
import { CollectivesError } from '../errors.js';
import { HANDLE_KEY } from './attach.js';
import { WorkerWorld, type WorkerWorldOptions } from './world.js';

/** Options of {@link launchWorkers}. */
export interface LaunchOptions extends WorkerWorldOptions {
  /** The file that every rank runs: a `file:` URL (an object or its text) or an absolute path. It calls `attachWorkerCommunicator()`. */
  readonly entry: URL | string;
  /** What each rank gets as `workerData.data`; a function is called with the rank. */
  readonly data?: unknown;
  /** Passed to each `Worker`, without `workerData`. */
  readonly worker?: Omit<WorkerOptions, 'workerData'>;
  /** Ends all workers; `join()` rejects with AbortedError. */
  readonly signal?: AbortSignal;
}

/** How a worker ended. */
export interface WorkerExit {
  readonly rank: number;
  readonly exitCode: number;
  /** What it threw, if that was the reason. */
  readonly error?: unknown;
}

/** Workers of {@link launchWorkers}, by rank. */
export interface WorkerGroup {
  readonly world: WorkerWorld;
  readonly workers: readonly Worker[];
  /**
   * Resolves when all workers have ended, with how each did, by rank.
   *
   * @throws CollectivesError `collectives/peer-failure` when a worker threw or ended with a code other than 0, its error as `cause`; AbortedError.
   */
  join(): Promise<readonly WorkerExit[]>;
  /** As `join`, without rejecting. */
  exits(): Promise<readonly WorkerExit[]>;
  /** Ends all workers, whatever they do. Their ranks do not count as failed for `join`. */
  terminate(): Promise<void>;
}

/**
 * Starts one worker for each rank and watches them: when one dies, the others learn it at once, also those that are blocked.
 *
 * @example
 * ```ts
 * import { isMainThread } from 'node:worker_threads';
 * import { attachWorkerCommunicator, launchWorkers } from '@moestack/collectives/worker';
 *
 * if (isMainThread) {
 *   await launchWorkers({ ranks: 2, entry: import.meta.url }).join();
 * } else {
 *   const comm = attachWorkerCommunicator();
 *   const sum = await comm.allReduce(Float32Array.of(comm.rank + 1));
 *   console.log(sum[0]); // 3
 *   comm.close();
 * }
 * ```
 */
export function launchWorkers(options: LaunchOptions): WorkerGroup {
  const { signal } = options;
  if (signal?.aborted) throw new AbortedError('launchWorkers', signal.reason);
  const { entry: given } = options;
  const entry = typeof given === 'string' && given.startsWith('file:') ? new URL(given) : given;
  const world = WorkerWorld.create(options);
  const workers: Worker[] = [];
  const ends: Promise<WorkerExit>[] = [];
  let stopped = false;
  for (let rank = 0; rank < options.ranks; rank++) {
    const data =
      typeof options.data === 'function' ? (options.data as (rank: number) => unknown)(rank) : options.data;
    let worker: Worker;
    try {
      worker = new Worker(entry, {
        ...options.worker,
        workerData: { [HANDLE_KEY]: world.handle(rank), data },
      });
    } catch (error) {
      for (const started of workers) void started.terminate();
      throw error;
    }
    workers.push(worker);
    ends.push(watchWorker(world, rank, worker));
  }
  const terminate = async (): Promise<void> => {
    stopped = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  const onAbort = (): void => void terminate();
  signal?.addEventListener('abort', onAbort, { once: true });
  const exits = Promise.all(ends).finally(() => signal?.removeEventListener('abort', onAbort));
  return {
    world,
    workers,
    terminate,
    exits: () => exits,
    join: async () => {
      const all = await exits;
      if (signal?.aborted) throw new AbortedError('launchWorkers', signal.reason);
      const bad = all.find((exit) => exit.error !== undefined) ?? all.find((exit) => exit.exitCode !== 0);
      if (bad === undefined || stopped) return all;
      throw new CollectivesError({
        code: 'collectives/peer-failure',
        message: `the worker of rank ${bad.rank} ${describe(bad)}`,
        value: bad.rank,
        remedy: 'see its cause; the other ranks got a PeerFailureError and may go on with shrink()',
        cause: bad.error,
      });
    },
  };
}

/**
 * Reports the end of a worker to the ranks that may wait for it, for workers that were not started by {@link launchWorkers}. Resolves when it has
 * ended; never rejects. An `error` of the worker counts as handled.
 */
export function watchWorker(world: WorkerWorld, rank: number, worker: Worker): Promise<WorkerExit> {
  return new Promise((resolve) => {
    let error: unknown;
    worker.once('error', (cause) => {
      error = cause;
      world.ended(rank, false, describe({ rank, exitCode: 1, error: cause }));
    });
    worker.once('exit', (exitCode) => {
      const exit = error === undefined ? { rank, exitCode } : { rank, exitCode, error };
      world.ended(rank, exitCode === 0, describe(exit));
      resolve(exit);
    });
  });
}

function describe(exit: WorkerExit): string {
  if (exit.error === undefined) return `ended with exit code ${exit.exitCode}`;
  return `threw ${exit.error instanceof Error ? `${exit.error.name}: ${exit.error.message}` : String(exit.error)}`;
}
