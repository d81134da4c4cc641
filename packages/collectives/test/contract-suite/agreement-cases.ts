import assert from 'node:assert/strict';
import type { Communicator, PlanRequest } from '../../src/communicator/communicator.js';
import { MismatchError } from '../../src/errors.js';
import { type ContractCase, rejection } from './support.js';

const usual = { op: 'allReduce', dtype: 'f32', count: 16, algorithm: 'ring' } as const;

const different: readonly [string, PlanRequest][] = [
  ['op', { op: 'broadcast', dtype: 'f32', count: 16, root: 0 }],
  ['op', { op: 'barrier' }],
  ['algorithm', { ...usual, algorithm: 'halving-doubling' }],
  ['dtype', { ...usual, dtype: 'i32' }],
  ['reduction', { ...usual, reduction: 'max' }],
  ['count', { ...usual, count: 17 }],
];

function mismatches(): ContractCase[] {
  return different.map(([field, other], index) => ({
    name: `a different ${field} (${index}) is a MismatchError on every rank, and the communicator stays usable`,
    minimumRanks: 2,
    async run(comm: Communicator) {
      const odd = comm.size - 1;
      const error = await rejection(comm.planAsync(comm.rank === odd ? other : usual));
      assert.ok(MismatchError.isInstance(error), String(error));
      assert.equal(error.field, field);
      assert.deepEqual(error.ranks, [odd]);
      assert.equal(comm.counters().report().sent.intra.bytes, 0, 'no byte has moved');
      const total = await comm.allReduce(Int32Array.of(1));
      assert.equal(total[0], comm.size);
    },
  }));
}

const root: ContractCase = {
  name: 'different roots and counts of parts are mismatches',
  minimumRanks: 2,
  async run(comm) {
    const { rank, size } = comm;
    const roots = await rejection(
      comm.planAsync({ op: 'broadcast', dtype: 'u8', count: 3, root: rank === 1 ? 1 : 0 }),
    );
    assert.ok(MismatchError.isInstance(roots) && roots.field === 'root');
    const counts = Array.from({ length: size }, () => 4);
    if (rank === 0) counts[1] = 5;
    const parts = await rejection(comm.planAsync({ op: 'allGather', dtype: 'f32', counts }));
    assert.ok(MismatchError.isInstance(parts) && parts.field === 'counts');
  },
};

const exchange: ContractCase = {
  name: 'what one rank sends and another expects must be the same',
  minimumRanks: 2,
  async run(comm) {
    const { rank, size } = comm;
    const sendCounts = new Array<number>(size).fill(2);
    if (rank === 0) sendCounts[1] = 3;
    const error = await rejection(
      comm.planAsync({ op: 'allToAll', dtype: 'f32', sendCounts, receiveCounts: 2 }),
    );
    assert.ok(MismatchError.isInstance(error), String(error));
    assert.equal(error.field, 'receiveCounts');
    assert.deepEqual(error.ranks, [0, 1]);
  },
};

const refused: ContractCase = {
  name: 'a rank that rejects its own arguments does not leave the others waiting',
  minimumRanks: 2,
  async run(comm) {
    const bad = comm.rank === 0;
    const planned = await rejection(
      comm.planAsync({ ...usual, ...(bad ? { input: new Float32Array(3) } : {}) }),
    );
    if (bad) assert.equal(planned.code, 'collectives/bad-shape');
    else assert.ok(MismatchError.isInstance(planned) && planned.field === 'arguments', String(planned));
    const parts = await rejection(comm.allToAll(new Float32Array(bad ? comm.size + 1 : comm.size)));
    if (bad) assert.equal(parts.code, 'collectives/bad-shape');
    else assert.ok(MismatchError.isInstance(parts) && parts.ranks[0] === 0, String(parts));
    const halves = await rejection(comm.allReduce(new Uint16Array(4), bad ? {} : { dtype: 'bf16' }));
    assert.equal(halves.code, bad ? 'collectives/bad-config' : 'collectives/mismatch');
    assert.equal((await comm.allReduce(Int32Array.of(2)))[0], 2 * comm.size);
  },
};

const otherCall: ContractCase = {
  name: 'another kind of collective call is a mismatch',
  minimumRanks: 2,
  async run(comm) {
    const call = comm.rank === 0 ? comm.split(0) : comm.planAsync(usual);
    const error = await rejection(call);
    assert.ok(MismatchError.isInstance(error), String(error));
    assert.equal(error.field, 'call');
    await comm.barrier();
  },
};

const localErrors: ContractCase = {
  name: 'bad arguments on every rank are typed errors, and the communicator stays usable',
  async run(comm) {
    const shared = new Float32Array(32);
    const bad: [string, PlanRequest][] = [
      ['collectives/bad-shape', { ...usual, count: -1 }],
      ['collectives/bad-shape', { ...usual, count: 1.5 }],
      ['collectives/bad-shape', { ...usual, output: new Float32Array(15) }],
      ['collectives/bad-shape', { ...usual, output: new Int32Array(16) }],
      ['collectives/bad-shape', { ...usual, input: shared.subarray(0, 16), output: shared.subarray(8, 24) }],
      ['collectives/bad-shape', { op: 'allGather', dtype: 'f32', counts: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }],
      ['collectives/unsupported', { ...usual, algorithm: 'bruck' }],
      ['collectives/unsupported', { ...usual, dtype: 'u8' }],
      ['collectives/bad-config', { ...usual, dtype: 'f64' as 'f32' }],
      ['collectives/bad-config', { op: 'broadcast', dtype: 'f32', count: 1, root: comm.size }],
      ['collectives/bad-config', { op: 'send', dtype: 'f32', count: 1, peer: comm.rank }],
    ];
    for (const [code, request] of bad) {
      const error = await rejection(comm.planAsync(request));
      assert.equal(error.code, code, `${JSON.stringify(request)}: ${error}`);
    }
    await comm.barrier();
  },
};

const misuse: ContractCase = {
  name: 'starting twice, closing while active and using a closed plan are typed errors',
  async run(comm) {
    const plan = await comm.planAsync(usual);
    plan.start();
    assert.throws(() => plan.start(), { code: 'collectives/busy' });
    if (comm.size > 1) assert.throws(() => plan.close(), { code: 'collectives/busy' });
    await plan.wait();
    await plan.wait();
    assert.equal(plan.test(), true);
    plan.close();
    plan.close();
    assert.throws(() => plan.start(), { code: 'collectives/closed' });
  },
};

/** Cases of agreement and of misuse. */
export const agreements: readonly ContractCase[] = [
  ...mismatches(),
  root,
  exchange,
  refused,
  otherCall,
  localErrors,
  misuse,
];
