// A rank that runs the contract suite; bundled before it is started, since workers take JavaScript only.
import { parentPort, workerData } from 'node:worker_threads';
import { attachWorkerCommunicator } from '../../src/worker/index.js';
import { casesFor, runCase } from '../contract-suite/index.js';

const { timeoutSeconds } = (workerData as { data: { timeoutSeconds: number } }).data;
const comm = attachWorkerCommunicator({ timeoutSeconds });
for (const entry of casesFor(comm.size, { breaking: true })) {
  let failure: string | undefined;
  try {
    await runCase(comm, entry);
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  parentPort?.postMessage({ rank: comm.rank, name: entry.name, failure });
}
comm.close();
