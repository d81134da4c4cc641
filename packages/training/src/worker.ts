import { parentPort, workerData } from 'node:worker_threads';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';
import { runRank } from './run-rank.js';
import { loadTokenSource, type WorkerOrder } from './worker-order.js';

// The entry of one rank, started by train().
const order = (workerData as { data: WorkerOrder }).data;
const communicator = attachWorkerCommunicator({ timeoutSeconds: 3600 });
await runRank(order.config, {
  directory: order.directory,
  source: await loadTokenSource(order.sourceSpec),
  communicator,
  wantsStop: () => Atomics.load(order.stop, 0) !== 0,
  onEvent: (event) => parentPort?.postMessage(event),
  clock: order.isTimed ? () => performance.now() / 1000 : () => 0,
});
communicator.close();
