import { Worker } from 'node:worker_threads';

/** What a guarded call is, by number: the thread must name it when this one cannot speak. */
const phases = ['a native collective', 'MPI_Finalize', 'ending the job after an error'] as const;

const GENERATION = 0;
const LIMIT = 1;
const PHASE = 2;

// Looks ten times a second: precise enough for limits of seconds, and arming stays two stores.
const source = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const state = new Int32Array(workerData.state);
let seen = -1;
let waited = 0;
for (;;) {
  Atomics.wait(state, 3, 0, 100);
  const generation = Atomics.load(state, 0);
  const limit = Atomics.load(state, 1);
  if (limit === 0 || generation !== seen) {
    seen = generation;
    waited = 0;
    continue;
  }
  waited += 100;
  if (waited < limit) continue;
  const phase = workerData.phases[Atomics.load(state, 2)];
  writeSync(2, 'moestack: rank ' + workerData.rank + ': ' + phase + ' did not finish within ' + limit / 1000 + ' s; ending the MPI job\\n');
  // The process manager must have read it before it learns of the death.
  Atomics.wait(state, 3, 0, 100);
  process.kill(process.pid, 'SIGKILL');
}
`;

/** A guarded call. */
export type Phase = 0 | 1 | 2;

/**
 * A thread that kills this process when a blocking MPI call does not return in time: nothing inside the process can interrupt such a call, and
 * the process manager ends the other ranks when one dies.
 */
export class Watchdog {
  readonly #state: Int32Array;
  readonly #worker: Worker;

  constructor(rank: number) {
    const state = new SharedArrayBuffer(16);
    this.#state = new Int32Array(state);
    this.#worker = new Worker(source, { eval: true, workerData: { state, rank, phases }, stdin: false });
    this.#worker.unref();
  }

  /** Starts the time of a blocking call. */
  arm(phase: Phase, seconds: number): void {
    this.#state[PHASE] = phase;
    Atomics.add(this.#state, GENERATION, 1);
    Atomics.store(this.#state, LIMIT, Math.min(Math.ceil(seconds * 1000), 0x7fffffff));
  }

  /** The call has returned. */
  disarm(): void {
    Atomics.store(this.#state, LIMIT, 0);
  }
}
