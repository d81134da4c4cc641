// A rank that runs the scenario in a worker thread or in a process of an MPI job; bundled before it is started.
import { parentPort, workerData } from 'node:worker_threads';
import { uniformTopology } from '../../src/index.js';
import { runScenario, runUntilFailure } from './scenario.js';

interface RankData {
  blocking: boolean;
  /** This rank ends its thread in the middle of a dispatch. */
  victim?: number;
}

if (parentPort !== null) {
  const { attachWorkerCommunicator } = await import('../../src/worker/index.js');
  const { blocking, victim } = (workerData as { data: RankData }).data;
  const comm = attachWorkerCommunicator({ timeoutSeconds: 30 });
  if (victim === undefined) {
    parentPort.postMessage({ rank: comm.rank, digests: await runScenario(comm, blocking) });
  } else {
    parentPort.postMessage({ rank: comm.rank, failure: await runUntilFailure(comm, victim, blocking) });
  }
  comm.close();
} else {
  const { connectMpi } = await import('../../src/mpi/index.js');
  const [nodes, ranksPerNode, blocking] = process.argv.slice(2).map(Number);
  const comm = connectMpi({ timeoutSeconds: 30, topology: uniformTopology(nodes!, ranksPerNode!) });
  const digests = await runScenario(comm, blocking === 1);
  // One line for each rank, so that lines of different processes do not mix.
  process.stdout.write(`${JSON.stringify({ rank: comm.rank, digests })}\n`);
  await comm.barrier();
  comm.close();
}
