// A whole program of two ranks; it must end by itself, whatever the ranks leave open.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import {
  attachWorkerCommunicator,
  launchWorkers,
  WorkerWorld,
  watchWorker,
} from '@moestack/collectives/worker';

const way = isMainThread ? process.argv[2] : (workerData.data?.way ?? workerData.way);

async function talk(comm) {
  const [sum] = await comm.allReduce(Int32Array.of(comm.rank + 1));
  const child = await comm.dup();
  const plan = child.plan({ op: 'allToAll', dtype: 'f32', sendCounts: 10, receiveCounts: 10 });
  plan.run();
  // Rank 1 answers late, so that rank 0 sleeps in its promise.
  if (comm.rank === 1) await new Promise((resolve) => setTimeout(resolve, 30));
  await child.barrier();
  if (way !== 'left-open') child.close();
  return sum;
}

if (!isMainThread) {
  const comm = attachWorkerCommunicator(workerData.handle === undefined ? {} : { handle: workerData.handle });
  const sum = await talk(comm);
  parentPort.postMessage(sum);
  if (way !== 'left-open') comm.close();
} else if (way === 'main-is-a-rank') {
  const world = WorkerWorld.create({ ranks: 2, bytesPerRank: 4 << 20 });
  const worker = new Worker(new URL(import.meta.url), { workerData: { way, handle: world.handle(1) } });
  const exit = watchWorker(world, 1, worker);
  const comm = attachWorkerCommunicator({ handle: world.handle(0) });
  console.log('sum', await talk(comm));
  comm.close();
  console.log('exit', (await exit).exitCode);
} else {
  const group = launchWorkers({ ranks: 2, entry: import.meta.url, bytesPerRank: 4 << 20, data: { way } });
  for (const worker of group.workers) worker.on('message', (sum) => console.log('sum', sum));
  const exits = await group.join();
  console.log('exit', Math.max(...exits.map((exit) => exit.exitCode)));
}
