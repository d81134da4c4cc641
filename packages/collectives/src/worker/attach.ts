import { workerData } from 'node:worker_threads';
import type { Communicator } from '../communicator/communicator.js';
import { type CommunicatorOptions, createCommunicator } from '../communicator/create-communicator.js';
import type { Transport } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { Group } from './group.js';
import { worldBytes } from './layout.js';
import { WorkerRank } from './rank.js';
import { WorkerTransport } from './transport.js';
import { checkHandle, type WorkerHandle } from './world.js';

/** Key of `workerData` under which {@link launchWorkers} passes the handle. */
export const HANDLE_KEY = 'moestackRank';

/** Options of {@link attachWorkerCommunicator}. */
export interface AttachOptions extends CommunicatorOptions {
  /** Default: the one that `launchWorkers` gave this thread. */
  readonly handle?: WorkerHandle;
}

/**
 * Makes this thread a rank and returns the communicator of all ranks. Returns at once; the first operation waits until the others are there.
 *
 * Close it when done. A thread that ends without closing counts as failed when it ends by an error, and otherwise only for ranks that still wait for it.
 */
export function attachWorkerCommunicator(options: AttachOptions = {}): Communicator {
  return createCommunicator(attachWorkerTransport(options.handle), options);
}

/**
 * The transport of a rank, without a communicator over it.
 *
 * @param handle - default: the one that `launchWorkers` gave this thread
 */
export function attachWorkerTransport(handle: WorkerHandle = launchedHandle()): Transport {
  const topology = checkHandle(handle);
  const rank = new WorkerRank(handle);
  const group = new Group(rank, handle.worldOffset + worldBytes(handle.ranks));
  return new WorkerTransport(rank, group, topology);
}

function launchedHandle(): WorkerHandle {
  const data: unknown = workerData;
  if (typeof data === 'object' && data !== null && HANDLE_KEY in data)
    return data[HANDLE_KEY] as WorkerHandle;
  throw new CollectivesError({
    code: 'collectives/bad-config',
    message: 'this thread was not started as a rank',
    value: typeof data,
    remedy: 'start it with launchWorkers, or pass it the handle that WorkerWorld.handle(rank) gives',
  });
}
