import assert from 'node:assert/strict';
import { AbortedError } from '@moestack/schemas/errors';
import type { Communicator } from '../../src/communicator/communicator.js';
import { CollectivesTimeoutError, MismatchError, PeerFailureError } from '../../src/errors.js';
import { type ContractCase, rejection } from './support.js';

const pointToPoint: ContractCase = {
  name: 'send and receive tell tags apart, keep order, and may be shorter',
  minimumRanks: 2,
  async run(comm) {
    const next = (comm.rank + 1) % comm.size;
    const previous = (comm.rank - 1 + comm.size) % comm.size;
    const [, , short, long] = await Promise.all([
      comm.send(Int32Array.of(comm.rank), { to: next, tag: 1 }),
      comm.send(new Int32Array(5000).fill(comm.rank), { to: next, tag: 2 }),
      comm.receive(new Int32Array(10), { from: previous, tag: 1 }),
      comm.receive(new Int32Array(5000), { from: previous, tag: 2 }),
    ]);
    assert.deepEqual([...short], [previous]);
    assert.ok(long.length === 5000 && long.every((value) => value === previous));
    for (let index = 0; index < 5; index++) {
      const sent = comm.send(Int32Array.of(index), { to: next });
      const got = await comm.receive(new Int32Array(1), { from: previous });
      await sent;
      assert.equal(got[0], index);
    }
    const plan = await comm.planAsync({ op: 'receive', dtype: 'f32', count: 8, peer: previous, tag: 7 });
    const other = await rejection(
      comm.planAsync({ op: 'receive', dtype: 'f32', count: 8, peer: previous, tag: 7 }),
    );
    assert.equal(other.code, 'collectives/busy');
    plan.close();
  },
};

const tooLong: ContractCase = {
  name: 'a message longer than the receive is a MismatchError of the receiver',
  minimumRanks: 2,
  async run(comm) {
    if (comm.rank === 0) {
      await comm
        .send(new Float32Array(9), { to: 1 })
        .catch((error) => assert.ok(MismatchError.isInstance(error)));
    } else if (comm.rank === 1) {
      const error = await rejection(comm.receive(new Float32Array(8), { from: 0 }));
      assert.ok(MismatchError.isInstance(error), String(error));
      assert.deepEqual(error.ranks, [0]);
    }
    await comm.barrier();
  },
};

const split: ContractCase = {
  name: 'split orders by key, leaves negative colors out, and the groups work at the same time',
  async run(comm) {
    const { rank, size } = comm;
    const group = await comm.split(rank % 2, -rank);
    assert.ok(group !== undefined);
    const members = Array.from({ length: size }, (_, peer) => peer)
      .filter((peer) => peer % 2 === rank % 2)
      .reverse();
    assert.equal(group.size, members.length);
    assert.equal(group.rank, members.indexOf(rank));
    assert.deepEqual([...(await group.allGather(Int32Array.of(rank)))], members);
    const nodes = members.map((peer) => comm.topology.nodeOf[peer]);
    for (let a = 0; a < members.length; a++) {
      for (let b = 0; b < members.length; b++) {
        assert.equal(group.topology.nodeOf[a] === group.topology.nodeOf[b], nodes[a] === nodes[b]);
      }
    }
    const first = await comm.split(rank === 0 ? 0 : -1);
    assert.equal(first === undefined, rank !== 0);
    assert.equal(first?.size ?? 1, 1);
    if (first !== undefined) assert.deepEqual([...(await first.allReduce(Int32Array.of(5)))], [5]);
    await comm.barrier();
    await group.barrier();
    first?.close();
    group.close();
  },
};

const dup: ContractCase = {
  name: 'dup has its own channels, order and counters, and outlives its parent',
  async run(comm) {
    const parent = await comm.dup();
    const child = await parent.dup();
    // Different orders on the two communicators do not matter.
    const calls =
      comm.rank % 2 === 0
        ? [
            parent.allReduce(Int32Array.of(1), { algorithm: 'ring' }),
            child.allReduce(Int32Array.of(2), { algorithm: 'ring' }),
          ]
        : [
            child.allReduce(Int32Array.of(2), { algorithm: 'ring' }),
            parent.allReduce(Int32Array.of(1), { algorithm: 'ring' }),
          ];
    const sums = (await Promise.all(calls)).map((result) => (result[0] as number) / comm.size).sort();
    assert.deepEqual(sums, [1, 2]);
    const before =
      child.counters().report().sent.intra.messages + child.counters().report().sent.inter.messages;
    await parent.barrier();
    const after =
      child.counters().report().sent.intra.messages + child.counters().report().sent.inter.messages;
    assert.equal(after, before);
    await comm.barrier();
    parent.close();
    assert.equal((await child.allReduce(Int32Array.of(1)))[0], comm.size);
    await comm.barrier();
    child.close();
    const error = await rejection(child.barrier());
    assert.equal(error.code, 'collectives/closed');
  },
};

const lateDup: ContractCase = {
  name: 'dup meets ranks that come at different times, many times in a row, without any other call between',
  async run(comm) {
    const { rank, size } = comm;
    const groups: Communicator[] = [];
    for (let index = 0; index < 5; index++) {
      // A different rank is the last to come each time.
      const turns = ((rank + index) % size) * 50;
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      groups.push(await comm.dup());
    }
    for (const [index, group] of groups.entries()) {
      assert.equal(group.rank, rank);
      assert.equal(
        (await group.allReduce(Int32Array.of(rank + index)))[0],
        size * index + (size * (size - 1)) / 2,
      );
    }
    await comm.barrier();
    for (const group of groups) group.close();
  },
};

const timeout: ContractCase = {
  name: 'a rank that does not come is named by a timeout, which breaks the communicator',
  breaks: true,
  minimumRanks: 2,
  async run(comm) {
    const absent = comm.size - 1;
    const plan = await comm.planAsync({ op: 'allReduce', dtype: 'f32', count: 4, algorithm: 'ring' });
    if (comm.rank === absent) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return;
    }
    plan.start();
    const error = await rejection(plan.wait({ timeoutSeconds: 0.1 }));
    assert.ok(CollectivesTimeoutError.isInstance(error) || PeerFailureError.isInstance(error), String(error));
    if (comm.size === 2) assert.deepEqual((error as CollectivesTimeoutError).ranks, [absent]);
    assert.throws(
      () => plan.start(),
      (thrown) => thrown === error,
      'an active plan says what broke it, not that it is busy',
    );
    const again = await rejection(comm.barrier());
    assert.equal(again, error, 'everything on a broken communicator fails with what broke it');
  },
};

const planTimeout: ContractCase = {
  name: 'planning times out, naming who has not planned',
  breaks: true,
  minimumRanks: 2,
  async run(comm) {
    if (comm.rank === 1) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      return;
    }
    const error = await rejection(comm.planAsync({ op: 'barrier' }, { timeoutSeconds: 0.1 }));
    assert.ok(CollectivesTimeoutError.isInstance(error) || PeerFailureError.isInstance(error), String(error));
    assert.ok(error.ranks.includes(1));
  },
};

const abort: ContractCase = {
  name: 'an AbortSignal ends a wait',
  breaks: true,
  minimumRanks: 2,
  async run(comm) {
    const controller = new AbortController();
    if (comm.rank === 0) {
      setTimeout(() => controller.abort(new Error('enough')), 20);
      const error = await rejection(
        comm.receive(new Float32Array(1), { from: 1, signal: controller.signal }),
      );
      assert.ok(error instanceof AbortedError, String(error));
    } else {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  },
};

const failure: ContractCase = {
  name: 'a failed rank is named to all survivors, and shrink goes on without it',
  breaks: true,
  minimumRanks: 3,
  async run(comm) {
    const victim = 1;
    const plan = await comm.planAsync({
      op: 'allReduce',
      dtype: 'f32',
      count: 8,
      algorithm: 'recursive-doubling',
    });
    if (comm.rank === victim) return;
    if (comm.rank === 0) setTimeout(() => comm.transport.fail([victim], 'declared by a test'), 20);
    plan.start();
    const error = await rejection(plan.wait());
    assert.ok(PeerFailureError.isInstance(error), String(error));
    assert.deepEqual(error.ranks, [victim]);
    const rest = await comm.shrink();
    assert.equal(rest.size, comm.size - 1);
    assert.equal(rest.rank, comm.rank === 0 ? 0 : comm.rank - 1);
    assert.equal((await rest.allReduce(Int32Array.of(3)))[0], 3 * rest.size);
    await rest.barrier();
    rest.close();
  },
};

/** Cases of groups, point-to-point messages and faults. */
export const groups: readonly ContractCase[] = [
  pointToPoint,
  tooLong,
  split,
  dup,
  lateDup,
  timeout,
  planTimeout,
  abort,
  failure,
];
