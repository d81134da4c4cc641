// One process of the benchmark under mpirun: reads commands from its pipe, asleep between them, and times planned native calls.
import { openSync, readSync, writeSync } from 'node:fs';
import { connectMpi } from '@moestack/collectives/mpi';

const comm = connectMpi({ timeoutSeconds: 60 });
const commands = openSync(`${process.argv[2]}.${comm.rank}`, 'r');
const barrier = comm.plan({ op: 'barrier', algorithm: 'native' });

function request(op, bytes) {
  const algorithm = 'native';
  if (op === 'barrier') return { op, algorithm };
  if (op === 'allReduce') return { op, dtype: 'f32', count: bytes / 4, algorithm };
  return { op: 'allToAll', dtype: 'u8', sendCounts: bytes, receiveCounts: bytes, algorithm };
}

function run(plan, iterations) {
  for (let i = 0; i < iterations; i++) plan.run();
}

function measure(op, bytes, iterations, batches) {
  const plan = comm.plan(request(op, bytes));
  plan.input.fill(1);
  plan.output.fill(1);
  run(plan, iterations);
  const times = [];
  for (let batch = 0; batch < batches; batch++) {
    barrier.run();
    const start = performance.now();
    run(plan, iterations);
    times.push((performance.now() - start) / iterations / 1e3);
  }
  plan.close();
  times.sort((a, b) => a - b);
  return times[batches >> 1];
}

let text = '';
const chunk = Buffer.alloc(4096);
for (;;) {
  const length = readSync(commands, chunk);
  if (length === 0) break;
  text += chunk.toString('utf8', 0, length);
  for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
    const [op, ...numbers] = text.slice(0, end).split(' ');
    text = text.slice(end + 1);
    const [bytes, iterations, batches] = numbers.map(Number);
    const seconds = measure(op, bytes, iterations, batches);
    if (comm.rank === 0) writeSync(1, `${JSON.stringify({ seconds })}\n`);
  }
}
comm.close();
