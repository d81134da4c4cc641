import { parentPort, workerData } from 'node:worker_threads';
import { runEncoder } from './encoder-thread.js';
import type { WorkerSetup } from './protocol.js';
import { runRank } from './rank-thread.js';

const setup = workerData as WorkerSetup;

if (parentPort !== null) {
  if (setup.kind === 'rank') await runRank(setup, parentPort);
  else await runEncoder(setup, parentPort);
}
