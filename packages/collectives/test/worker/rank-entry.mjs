// What a rank does in the tests of faults and waiting; `workerData.data.scenario` names it. Reports go to the main thread.
import { parentPort, workerData } from 'node:worker_threads';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';

const { scenario, victim, way, blocking, timeoutSeconds, left } = workerData.data;
const comm = attachWorkerCommunicator({ timeoutSeconds });
const report = (fields) => parentPort.postMessage({ rank: comm.rank, ...fields });

function sleepSync(milliseconds) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Runs `body`; what it threw, and after how many milliseconds. */
async function outcome(body) {
  const start = performance.now();
  try {
    await body();
    return { error: undefined, milliseconds: performance.now() - start };
  } catch (error) {
    const { name, code, ranks, field, message } = error;
    return { error: { name, code, ranks, field, message }, milliseconds: performance.now() - start };
  }
}

const patient = { timeoutSeconds: 20 };

const sum = async (on, options) => (await on.allReduce(Float32Array.of(1, on.rank), options))[0];

function die() {
  report({ dying: true });
  if (way === 'throw') {
    setImmediate(() => {
      throw new RangeError('out of luck');
    });
    return new Promise(() => {});
  }
  if (way === 'reject') return Promise.reject(new TypeError('nobody caught this'));
  if (way === 'exit') process.exit(3);
  if (way === 'exit-cleanly') process.exit(0);
  // Ended from outside, in the middle of whatever it does.
  for (;;);
}

const scenarios = {
  async killed() {
    const plan = comm.plan({ op: 'allReduce', dtype: 'f32', count: 1000 });
    plan.run();
    // The others may still be about to leave the run that just worked.
    const counter = new Int32Array(left);
    if (comm.rank === victim) {
      for (let count = 0; count < comm.size - 1; count = Atomics.load(counter, 0)) {
        Atomics.wait(counter, 0, count);
      }
      return await die();
    }
    Atomics.add(counter, 0, 1);
    Atomics.notify(counter, 0);
    const result = await outcome(() => {
      if (!blocking) {
        plan.start();
        return plan.wait();
      }
      plan.run();
    });
    report({ at: Date.now(), ...result });
    const again = await outcome(() => comm.plan({ op: 'barrier' }));
    const survivors = blocking ? comm.shrinkSync() : await comm.shrink();
    const total = await sum(survivors);
    report({ again: again.error, size: survivors.size, newRank: survivors.rank, total });
    survivors.close();
  },

  async wedged() {
    // The short timeout is for the wait that is to fail; threads may take longer to start on a busy machine.
    const plan = comm.plan({ op: 'barrier' }, patient);
    plan.run(patient);
    if (comm.rank === victim) {
      // Answers nobody until the others have given it up.
      while (comm.transport.failure() === undefined) sleepSync(20);
      const result = await outcome(() => plan.run());
      report({ late: result.error });
      return;
    }
    const result = await outcome(() => (blocking ? plan.run() : comm.barrier()));
    comm.transport.fail(result.error.ranks, 'did not answer');
    const survivors = await comm.shrink(patient);
    report({ ...result, size: survivors.size, total: await sum(survivors, patient) });
    survivors.close();
  },

  async mismatched() {
    const results = [];
    const requests = [
      { op: 'allReduce', dtype: comm.rank === victim ? 'i32' : 'f32', count: 4 },
      { op: 'allReduce', dtype: 'f32', count: comm.rank === victim ? 5 : 4 },
      comm.rank === victim ? { op: 'barrier' } : { op: 'broadcast', dtype: 'f32', count: 4, root: 0 },
      { op: 'broadcast', dtype: 'f32', count: 4, root: comm.rank === victim ? 1 : 0 },
      {
        op: 'allToAll',
        dtype: 'f32',
        sendCounts: comm.rank === victim ? 2 : 3,
        receiveCounts: 3,
      },
      { op: 'allReduce', dtype: 'f32', count: comm.rank === victim ? -1 : 4 },
    ];
    for (const request of requests) {
      results.push((await outcome(() => (blocking ? comm.plan(request) : comm.planAsync(request)))).error);
    }
    report({ results, total: await sum(comm), traffic: comm.counters().report().sent.intra.messages });
  },

  async closed() {
    const plan = comm.plan({ op: 'allReduce', dtype: 'f32', count: 100_000 });
    plan.run();
    if (comm.rank === victim) {
      plan.start();
      comm.close();
      comm.close();
      return;
    }
    plan.start();
    report(await outcome(() => (blocking ? plan.finish() : plan.wait())));
  },

  async aborted() {
    if (comm.rank === victim) {
      sleepSync(300);
      return;
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 30);
    report(await outcome(() => comm.receive(new Uint8Array(1), { from: victim, signal: controller.signal })));
    report({ after: (await outcome(() => comm.barrier())).error });
  },

  async idle() {
    const plan = comm.plan({ op: 'barrier' });
    plan.run();
    if (comm.rank === victim) {
      sleepSync(50);
      const before = process.cpuUsage();
      sleepSync(1000);
      const { user, system } = process.cpuUsage(before);
      report({ cpu: (user + system) / 1e6 });
      plan.run();
      return;
    }
    let ticks = 0;
    const timer = setInterval(() => ticks++, 20);
    if (blocking) plan.run();
    else {
      plan.start();
      await plan.wait();
    }
    clearInterval(timer);
    report({ ticks });
  },

  /** Runs until it is stopped; every rank counts its runs. */
  async endless() {
    const plan = comm.plan({ op: 'allToAll', dtype: 'u8', sendCounts: 5000, receiveCounts: 5000 });
    report({ running: true });
    const result = await outcome(() => {
      for (;;) plan.run();
    });
    report(result);
  },
};

await scenarios[scenario]();
comm.close();
