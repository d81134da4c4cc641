import assert from 'node:assert/strict';
import type { Communicator, PlanRequest } from '../../src/communicator/communicator.js';
import { CollectivesError } from '../../src/errors.js';
import { type ContractCase, rejection } from '../contract-suite/support.js';

/** Runs one of MPI's own collectives blocking, then by start and wait. */
async function both(
  comm: Communicator,
  request: PlanRequest,
  fill: number,
  expected: number[] | undefined,
): Promise<void> {
  const plan = await comm.planAsync({ ...request, algorithm: 'native' } as PlanRequest);
  assert.equal(plan.algorithm, 'native');
  for (const mode of ['blocking', 'promise']) {
    plan.input.fill(fill);
    plan.output.fill(0);
    if (request.op === 'broadcast') plan.output.fill(fill);
    if (mode === 'blocking') {
      plan.run();
    } else {
      plan.start();
      await plan.wait();
    }
    if (expected !== undefined) assert.deepEqual([...plan.output], expected, `${request.op}, ${mode}`);
  }
  plan.close();
}

const everyOperation: ContractCase = {
  name: "native: every operation of MPI's own, blocking and not",
  async run(comm) {
    const { rank, size } = comm;
    const ranks = Array.from({ length: size }, (_, peer) => peer);
    const total = (size * (size + 1)) / 2;
    const root = size - 1;
    const isRoot = rank === root;
    const counts = ranks.map((peer) => peer % 3);
    const runs = (of: readonly number[], value: (peer: number) => number): number[] =>
      of.flatMap((count, peer) => new Array<number>(count).fill(value(peer)));
    const mine = counts[rank] as number;
    await both(comm, { op: 'allReduce', dtype: 'f32', count: 3 }, rank + 1, [total, total, total]);
    await both(comm, { op: 'allReduce', dtype: 'i32', count: 1, reduction: 'max' }, rank, [size - 1]);
    await both(comm, { op: 'allReduce', dtype: 'i32', count: 1, reduction: 'min' }, rank, [0]);
    await both(comm, { op: 'reduce', dtype: 'i32', count: 2, root }, rank + 1, isRoot ? [total, total] : []);
    await both(
      comm,
      { op: 'reduceScatter', dtype: 'f32', counts },
      rank + 1,
      new Array<number>(mine).fill(total),
    );
    await both(
      comm,
      { op: 'allGather', dtype: 'bf16', counts },
      rank + 1,
      runs(counts, (peer) => peer + 1),
    );
    await both(
      comm,
      { op: 'gather', dtype: 'f32', counts, root },
      rank + 1,
      isRoot ? runs(counts, (peer) => peer + 1) : [],
    );
    await both(comm, { op: 'scatter', dtype: 'f32', counts, root }, 7, new Array<number>(mine).fill(7));
    await both(
      comm,
      { op: 'broadcast', dtype: 'u8', count: 5, root },
      isRoot ? 9 : 1,
      new Array<number>(5).fill(9),
    );
    await both(comm, { op: 'barrier' }, 0, undefined);
    const sendCounts = ranks.map((peer) => (rank + peer) % 3);
    const receiveCounts = ranks.map((peer) => (peer + rank) % 3);
    const request = { op: 'allToAll', dtype: 'i32', sendCounts, receiveCounts } as const;
    await both(
      comm,
      request,
      rank,
      runs(receiveCounts, (peer) => peer),
    );
  },
};

const native16: ContractCase = {
  name: 'native: 16-bit floats cannot be reduced by MPI, which is a typed error',
  async run(comm) {
    const error = await rejection(
      comm.planAsync({ op: 'allReduce', dtype: 'bf16', count: 4, algorithm: 'native' }),
    );
    assert.ok(CollectivesError.isInstance(error) && error.code === 'collectives/unsupported', String(error));
    const shrunk = await rejection(comm.shrink());
    assert.equal(shrunk.code, 'collectives/unsupported');
  },
};

const inPlaceNative: ContractCase = {
  name: 'native: allReduce and reduce work in place',
  async run(comm) {
    const data = new Float32Array(4).fill(comm.rank);
    const total = (comm.size * (comm.size - 1)) / 2;
    const all = await comm.planAsync({
      op: 'allReduce',
      dtype: 'f32',
      count: 4,
      input: data,
      output: data,
      algorithm: 'native',
    });
    all.run();
    assert.ok(data.every((value) => value === total));
    data.fill(comm.rank);
    const output = comm.rank === 0 ? { output: data } : {};
    const rooted = await comm.planAsync({
      op: 'reduce',
      dtype: 'f32',
      count: 4,
      root: 0,
      input: data,
      ...output,
      algorithm: 'native',
    });
    rooted.run();
    assert.ok(comm.rank !== 0 || data.every((value) => value === total));
    all.close();
    rooted.close();
  },
};

const eventLoop: ContractCase = {
  name: 'the event loop turns while a promise waits for a late rank',
  minimumRanks: 2,
  async run(comm) {
    const plan = await comm.planAsync({
      op: 'allReduce',
      dtype: 'f32',
      count: 4,
      algorithm: comm.size > 2 ? 'ring' : 'native',
    });
    await comm.barrier();
    if (comm.rank === 1) await new Promise((resolve) => setTimeout(resolve, 150));
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    plan.start();
    await plan.wait();
    clearInterval(timer);
    if (comm.rank === 0) assert.ok(ticks > 5, `${ticks} ticks`);
    plan.close();
  },
};

const LATE_MILLISECONDS = 500;
/** 10 ms of polling, 5 % of the rest, and as much again for what a busy machine charges to this process. */
const IDLE_CPU_MILLISECONDS = 70;

const idle: ContractCase = {
  name: 'a rank that waits sleeps, blocking and in promises',
  minimumRanks: 2,
  async run(comm) {
    const plan = await comm.planAsync({
      op: 'allReduce',
      dtype: 'f32',
      count: 4,
      algorithm: 'recursive-doubling',
    });
    for (const mode of ['blocking', 'promise']) {
      await comm.barrier();
      if (comm.rank === 1) await new Promise((resolve) => setTimeout(resolve, LATE_MILLISECONDS));
      const before = process.cpuUsage();
      if (mode === 'blocking') {
        plan.run();
      } else {
        plan.start();
        await plan.wait();
      }
      const { user, system } = process.cpuUsage(before);
      if (comm.rank === 0) {
        assert.ok(
          (user + system) / 1000 < IDLE_CPU_MILLISECONDS,
          `${mode}: ${(user + system) / 1000} ms of processor time`,
        );
      }
    }
    plan.close();
  },
};

/** Cases of the mpi transport alone. */
export const nativeCases: readonly ContractCase[] = [
  everyOperation,
  native16,
  inPlaceNative,
  eventLoop,
  idle,
];
