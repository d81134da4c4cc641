import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CollectivesTimeoutError } from '../../src/index.js';
import { connectMpi } from '../../src/mpi/index.js';

const [folder, fault] = process.argv.slice(2) as [string, string];
const VICTIM = 1;

const comm = connectMpi({
  timeoutSeconds: fault === 'dead' || fault === 'throws' ? 30 : 0.4,
  graceSeconds: 0.2,
});
const plan = comm.plan(
  { op: 'allReduce', dtype: 'f32', count: 1024, algorithm: fault === 'wedged-native' ? 'native' : 'ring' },
  { timeoutSeconds: 20 },
);
plan.run({ timeoutSeconds: 20 });
comm.plan({ op: 'barrier' }, { timeoutSeconds: 20 }).run({ timeoutSeconds: 20 });

function spinForEver(): never {
  for (;;);
}

if (comm.rank === VICTIM) {
  writeFileSync(join(folder, 'fault-at'), String(Date.now()));
  if (fault === 'dead') process.kill(process.pid, 'SIGKILL');
  if (fault === 'throws') throw new Error('a defect of the program');
  spinForEver();
}
if (fault !== 'wedged-at-exit') {
  try {
    if (fault === 'wedged-promise') {
      plan.start();
      await plan.wait();
    } else {
      plan.run();
    }
  } catch (error) {
    const { name, ranks } = error as CollectivesTimeoutError;
    appendFileSync(join(folder, 'caught'), `${CollectivesTimeoutError.isInstance(error)} ${name} ${ranks}\n`);
  }
}
