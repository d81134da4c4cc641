import assert from 'node:assert/strict';
import type { CollectiveOp, Communicator, Plan, PlanRequest } from '../../src/communicator/communicator.js';
import { bytesPerElement, viewAs } from '../../src/communicator/dtype.js';
import { algorithmsOf, type NamedAlgorithm, supports, totalsOf } from '../../src/schedule/create-schedule.js';
import {
  bytesOf,
  type ContractCase,
  generator,
  interpreted,
  lengths,
  randomBytes,
  reducible,
  type Shape,
  sameBytes,
  sum,
} from './support.js';

const reductions = ['sum', 'max', 'min'] as const;

function request(shape: Shape, comm: Communicator): PlanRequest {
  const { op, algorithm, dtype, reduction, counts, root } = shape;
  const { rank, size } = comm;
  switch (op) {
    case 'barrier':
      return { op, algorithm };
    case 'allReduce':
      return { op, algorithm, dtype, reduction, count: counts[0] as number };
    case 'reduce':
      return { op, algorithm, dtype, reduction, root, count: counts[0] as number };
    case 'broadcast': {
      const [length] = lengths(shape, rank, size);
      const input = viewAs(dtype, new Uint8Array(length * bytesPerElement(dtype)));
      return { op, algorithm, dtype, root, count: counts[0] as number, ...(length > 0 ? { input } : {}) };
    }
    case 'reduceScatter':
      return { op, algorithm, dtype, reduction, counts };
    case 'allToAll':
      return {
        op,
        algorithm,
        dtype,
        sendCounts: counts.slice(rank * size, rank * size + size),
        receiveCounts: Array.from({ length: size }, (_, peer) => counts[peer * size + rank] as number),
      };
    case 'allGather':
      return { op, algorithm, dtype, counts };
    default:
      return { op, algorithm, dtype, counts, root };
  }
}

/** Counts of every kind: ragged with zeros, all zero, equal. */
function countVariants(op: CollectiveOp, size: number): number[][] {
  const length =
    op === 'allToAll' ? size * size : ['allReduce', 'reduce', 'broadcast'].includes(op) ? 1 : size;
  if (op === 'barrier') return [[]];
  const next = generator(size * 31 + op.length);
  const ragged = Array.from({ length }, () => Math.floor(next() * 40) - 8).map((count) => Math.max(0, count));
  return [
    ragged,
    new Array<number>(length).fill(0),
    new Array<number>(length).fill(5),
    new Array<number>(length).fill(100),
  ];
}

/** Runs a planned operation twice and compares bits and traffic with the interpreted schedules. */
async function checkOperation(comm: Communicator, shape: Shape): Promise<void> {
  const { rank, size } = comm;
  const plan = await comm.planAsync(request(shape, comm));
  assert.equal(plan.algorithm, shape.algorithm);
  for (const seed of [100, 200]) {
    const { outputs, schedule } = interpreted(comm, shape, seed);
    const [inputs] = lengths(shape, rank, size);
    bytesOf(plan.input).set(randomBytes(shape.dtype, inputs, seed + rank));
    comm.counters().reset();
    plan.start();
    await plan.wait();
    const what = `${shape.op} ${shape.algorithm} ${shape.dtype} ${shape.reduction} [${shape.counts.slice(0, 4)}]`;
    sameBytes(plan.output, outputs[rank] as Uint8Array, what);
    const totals = totalsOf(schedule);
    const { sent, received } = comm.counters().report();
    assert.equal(sent.intra.bytes + sent.inter.bytes, totals.bytesSent, `${what}: bytes sent`);
    assert.equal(sent.intra.messages + sent.inter.messages, totals.messagesSent, `${what}: messages sent`);
    assert.equal(
      received.intra.bytes + received.inter.bytes,
      totals.bytesReceived,
      `${what}: bytes received`,
    );
    assert.equal(received.intra.messages + received.inter.messages, totals.messagesReceived, what);
  }
  plan.close();
}

function operationCases(op: CollectiveOp, algorithm: NamedAlgorithm): ContractCase {
  return {
    name: `${op} by ${algorithm} gives the bits and the traffic of its schedule`,
    async run(comm) {
      if (!supports(op, algorithm, comm.topology)) return;
      const reduces = op === 'allReduce' || op === 'reduceScatter' || op === 'reduce';
      let index = 0;
      for (const counts of countVariants(op, comm.size)) {
        for (const dtype of reduces || index === 0 ? reducible : (['bf16'] as const)) {
          const reduction = reduces ? (reductions[index % 3] as (typeof reductions)[number]) : 'sum';
          const root = index % comm.size;
          await checkOperation(comm, { op, algorithm, dtype, reduction, counts, root });
          index++;
        }
      }
    },
  };
}

const oneShots: ContractCase = {
  name: 'the promise methods infer shapes, and run in call order without being awaited',
  async run(comm) {
    const { rank, size } = comm;
    const mine = Float32Array.of(rank, 1);
    const [reduced, gathered, exchanged, , rooted, scattered, largest, collected] = await Promise.all([
      comm.allReduce(mine),
      comm.allGather(Int32Array.from({ length: rank }, () => rank)),
      comm.allToAll(Int32Array.from({ length: size }, (_, peer) => rank * 100 + peer)),
      comm.barrier(),
      comm.reduce(Int32Array.of(rank), { root: size - 1 }),
      comm.scatter(rank === 0 ? Float32Array.from({ length: size * 2 }, (_, i) => i) : new Float32Array(0)),
      comm.allReduce(Float32Array.of(-rank, rank), { reduction: 'max', algorithm: 'ring' }),
      comm.gather(Uint8Array.of(rank, rank), { root: 0 }),
    ]);
    const total = (size * (size - 1)) / 2;
    assert.deepEqual([...reduced], [total, size]);
    assert.deepEqual([...mine], [rank, 1], 'the input is not touched');
    const ranks = Array.from({ length: size }, (_, peer) => peer);
    assert.deepEqual(
      [...gathered],
      ranks.flatMap((peer) => new Array<number>(peer).fill(peer)),
    );
    assert.deepEqual(
      [...exchanged.data],
      ranks.map((peer) => peer * 100 + rank),
    );
    assert.deepEqual(
      [...exchanged.receiveCounts],
      ranks.map(() => 1),
    );
    assert.deepEqual(rooted === undefined ? undefined : [...rooted], rank === size - 1 ? [total] : undefined);
    assert.deepEqual([...scattered], [rank * 2, rank * 2 + 1]);
    assert.deepEqual([...largest], [-0, size - 1]);
    assert.deepEqual(
      collected === undefined ? undefined : [...collected],
      rank === 0 ? ranks.flatMap((r) => [r, r]) : undefined,
    );
    const text = rank === size - 1 ? Uint16Array.of(1, 2, 3) : new Uint16Array(3);
    await comm.broadcast(text, { root: size - 1, dtype: 'bf16' });
    assert.deepEqual([...text], [1, 2, 3]);
    const uneven = await comm.reduceScatter(new Int32Array(size + 1).fill(2), {
      counts: ranks.map((peer) => (peer === 0 ? 2 : 1)),
    });
    assert.deepEqual([...uneven], new Array<number>(rank === 0 ? 2 : 1).fill(2 * size));
  },
};

const ragged: ContractCase = {
  name: 'allToAll without receive counts exchanges them first',
  async run(comm) {
    const { rank, size } = comm;
    const sendCounts = Array.from({ length: size }, (_, peer) => (rank + peer) % 3);
    const { data, receiveCounts } = await comm.allToAll(new Float32Array(sum(sendCounts)).fill(rank), {
      sendCounts,
    });
    const expected = Array.from({ length: size }, (_, peer) => (peer + rank) % 3);
    assert.deepEqual([...receiveCounts], expected);
    assert.deepEqual(
      [...data],
      expected.flatMap((count, peer) => new Array<number>(count).fill(peer)),
    );
  },
};

const inPlace: ContractCase = {
  name: 'allReduce works in place by every algorithm',
  async run(comm) {
    for (const algorithm of algorithmsOf.allReduce) {
      for (const count of [0, 1, 7, 100]) {
        const data = comm.allocate('i32', count);
        const plan = await comm.planAsync({
          op: 'allReduce',
          dtype: 'i32',
          count,
          algorithm,
          input: data,
          output: data,
        });
        for (let run = 1; run <= 3; run++) {
          for (let index = 0; index < count; index++) data[index] = comm.rank + index * run;
          plan.start();
          await plan.wait();
          const total = (comm.size * (comm.size - 1)) / 2;
          assert.deepEqual(
            [...data],
            Array.from(data, (_, index) => total + comm.size * index * run),
            algorithm,
          );
        }
        plan.close();
        comm.release(data);
      }
    }
  },
};

const variable: ContractCase = {
  name: 'variable allToAll sends what each run says, up to the capacities',
  async run(comm) {
    const { rank, size } = comm;
    const capacity = 6;
    const ranks = Array.from({ length: size }, (_, peer) => peer);
    // No traffic between ranks whose distance is two.
    const open = (from: number, to: number): number => (Math.abs(from - to) === 2 ? 0 : capacity);
    const plan = await comm.planAsync({
      op: 'allToAll',
      dtype: 'i32',
      variable: true,
      sendCounts: ranks.map((peer) => open(rank, peer)),
      receiveCounts: ranks.map((peer) => open(peer, rank)),
    });
    const starts = (counts: number[]): number[] => counts.map((_, peer) => sum(counts.slice(0, peer)));
    const sendStarts = starts(ranks.map((peer) => open(rank, peer)));
    const receiveStarts = starts(ranks.map((peer) => open(peer, rank)));
    for (let run = 0; run < 4; run++) {
      const counted = (from: number, to: number): number =>
        open(from, to) === 0 ? 0 : (from + to * 2 + run) % (capacity + 1);
      comm.counters().reset();
      ranks.forEach((peer) => {
        plan.sendCounts[peer] = counted(rank, peer);
        for (let index = 0; index < counted(rank, peer); index++) {
          plan.input[(sendStarts[peer] as number) + index] = rank * 1000 + run * 10 + index;
        }
      });
      plan.start();
      await plan.wait();
      assert.deepEqual(
        [...plan.receivedCounts],
        ranks.map((peer) => counted(peer, rank)),
      );
      for (const peer of ranks) {
        for (let index = 0; index < counted(peer, rank); index++) {
          assert.equal(plan.output[(receiveStarts[peer] as number) + index], peer * 1000 + run * 10 + index);
        }
      }
      const { sent } = comm.counters().report();
      assert.equal(
        sent.self.bytes + sent.intra.bytes + sent.inter.bytes,
        4 * sum(ranks.map((peer) => counted(rank, peer))),
      );
      assert.equal(
        sent.intra.messages + sent.inter.messages,
        ranks.filter((peer) => peer !== rank && open(rank, peer) > 0).length,
      );
    }
    plan.close();
  },
};

const together: ContractCase = {
  name: 'several plans are active at the same time and finish in any order',
  async run(comm) {
    const active: Plan[] = [];
    for (let index = 0; index < 5; index++) {
      active.push(
        await comm.planAsync({ op: 'allReduce', dtype: 'f32', count: 64 + index, algorithm: 'ring' }),
      );
    }
    for (let run = 0; run < 3; run++) {
      active.forEach((plan, index) => {
        plan.input.fill(index + comm.rank + run);
        plan.start();
      });
      for (const plan of [...active].reverse()) await plan.wait();
      active.forEach((plan, index) => {
        const total = (comm.size * (comm.size - 1)) / 2 + comm.size * (index + run);
        assert.ok(plan.output.every((value) => value === total));
      });
    }
    // Tags of closed plans are used again while others live on.
    active[1]?.close();
    await comm.allReduce(Float32Array.of(1), { algorithm: 'ring' });
    for (const plan of active) plan.close();
  },
};

const blocking: ContractCase = {
  name: 'run() blocks where a rank has its own thread, and says what to use where not',
  async run(comm) {
    const plan = await comm.planAsync({ op: 'allReduce', dtype: 'f32', count: 1000, algorithm: 'ring' });
    plan.input.fill(1);
    if (comm.transport.canBlock || comm.size === 1) {
      for (let run = 0; run < 20; run++) plan.run();
      assert.ok(plan.output.every((value) => value === comm.size));
      const direct = comm.plan({ op: 'allGather', dtype: 'i32', counts: 3, algorithm: 'bruck' });
      direct.input.fill(comm.rank);
      direct.run();
      assert.deepEqual(
        [...direct.output],
        Array.from({ length: comm.size * 3 }, (_, i) => Math.floor(i / 3)),
      );
      direct.close();
    } else {
      assert.throws(() => plan.run(), { code: 'collectives/would-block' });
      await plan.wait();
      assert.ok(plan.output.every((value) => value === comm.size));
    }
    plan.close();
  },
};

/** Cases of the operations: results, bits, traffic. */
export const operations: readonly ContractCase[] = [
  ...(Object.entries(algorithmsOf) as [CollectiveOp, NamedAlgorithm[]][]).flatMap(([op, algorithms]) =>
    algorithms.map((algorithm) => operationCases(op, algorithm)),
  ),
  oneShots,
  ragged,
  inPlace,
  variable,
  together,
  blocking,
];
