// A rank that runs the scenario in a worker thread or in a process of an MPI job; bundled before it is started.
import { parentPort, workerData } from 'node:worker_threads';
import { uniformTopology } from '../../src/index.js';
import { runScenario } from './scenario.js';

interface RankData {
  blocking: boolean;
}

if (parentPort !== null) {
  const { attachWorkerCommunicator } = await import('../../src/worker/index.js');
  const { blocking } = (workerData as { data: RankData }).data;
  const comm = attachWorkerCommunicator({ timeoutSeconds: 30 });
  const digests = await runScenario(comm, blocking);
  parentPort.postMessage({ rank: comm.rank, digests });
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
