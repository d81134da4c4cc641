// One rank of the benchmark: waits for commands on its message port and times planned calls.
import { parentPort } from 'node:worker_threads';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';

const comm = attachWorkerCommunicator({ timeoutSeconds: 60 });
const barrier = comm.plan({ op: 'barrier' });

function request(op, bytes) {
  if (op === 'barrier') return { op };
  if (op === 'allReduce') return { op, dtype: 'f32', count: bytes / 4 };
  const counts = Array.from({ length: comm.size }, (_, rank) =>
    op === 'exchange' && rank === comm.rank ? 0 : bytes,
  );
  return { op: 'allToAll', dtype: 'u8', sendCounts: counts, receiveCounts: counts };
}

function run(plan, iterations) {
  for (let i = 0; i < iterations; i++) plan.run();
}

parentPort.on('message', ({ op, bytes, iterations, batches }) => {
  const plan = comm.plan(request(op, bytes));
  plan.input.fill(1);
  run(plan, iterations);
  const times = [];
  for (let batch = 0; batch < batches; batch++) {
    barrier.run();
    const start = performance.now();
    run(plan, iterations);
    times.push((performance.now() - start) / iterations / 1e3);
  }
  barrier.run();
  plan.close();
  parentPort.postMessage({ seconds: Math.min(...times), algorithm: plan.algorithm });
});
