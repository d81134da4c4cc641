// One rank of the benchmark: opens runtimes over networks of different speed and times steps on them.
import { parentPort, workerData } from 'node:worker_threads';
import { withLinkModel } from '@moestack/collectives';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';
import { openRuntime } from '@moestack/model';

const { directory, sizes, tensor } = workerData.data;
const world = attachWorkerCommunicator({ timeoutSeconds: 300 });
const barrier = world.plan({ op: 'barrier' });
const slowest = world.plan({ op: 'allReduce', dtype: 'f32', count: 1, reduction: 'max' });
const runtimes = new Map();

async function open({ name, link }) {
  const own = world.dupSync();
  const communicator = link === undefined ? own : withLinkModel(own, link);
  const parallel = { communicator, tensor };
  runtimes.set(name, await openRuntime(directory, { ...sizes, microBatches: 2, parallel }));
  const runtime = runtimes.get(name);
  return {
    weightBytes: runtime.weightBytes,
    memoryBytes: runtime.kernels.arena.usedBytes,
    cacheBytes: runtime.blockBytes * sizes.blocks,
  };
}

function sentBytes({ exchangeCounters, tensorCounters }) {
  let bytes = 0;
  for (const counters of [exchangeCounters.dispatch, exchangeCounters.combine, tensorCounters]) {
    counters?.bytesSent.forEach((sent, peer) => {
      if (peer !== world.rank) bytes += sent;
    });
  }
  return bytes;
}

function step({ name, batch, overlap, steps }) {
  const runtime = runtimes.get(name);
  const before = sentBytes(runtime);
  barrier.run();
  const start = performance.now();
  let waitSeconds = 0;
  for (let i = 0; i < steps; i++) {
    runtime.forward(batch, { overlap });
    waitSeconds += runtime.lastStep.waitSeconds;
  }
  slowest.input[0] = (performance.now() - start) / 1e3 / steps;
  slowest.run();
  return {
    seconds: slowest.output[0],
    waitSeconds: waitSeconds / steps,
    sentBytes: (sentBytes(runtime) - before) / steps,
  };
}

parentPort.on('message', async (message) => {
  parentPort.postMessage(message.type === 'open' ? await open(message) : step(message));
});
