import { workerData } from 'node:worker_threads';
import type { Transport } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { Group } from './group.js';
import { worldBytes } from './layout.js';
import { WorkerRank } from './rank.js';
import { WorkerTransport } from './transport.js';
import { checkHandle, type WorkerHandle } from './world.js';

/** Key of `workerData` under which {@link launchWorkers} passes the handle. */
export const HANDLE_KEY = 'moestackRank';

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
