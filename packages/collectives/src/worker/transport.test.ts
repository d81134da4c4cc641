import { reference } from '@moestack/kernels';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Pending, Transport } from '../communicator/transport.js';
import { createTopology } from '../index.js';
import { attachWorkerTransport } from './attach.js';
import { WorkerWorld } from './world.js';

// All ranks of a world attached on this one thread and polled in turn: everything but blocking.
let open: Transport[] = [];

function attachAll(ranks: number, bytesPerRank = 1 << 20): Transport[] {
  const world = WorkerWorld.create({ ranks, bytesPerRank });
  open = Array.from({ length: ranks }, (_, rank) => attachWorkerTransport(world.handle(rank)));
  return open;
}

afterEach(() => {
  for (const transport of open) transport.close();
  open = [];
});

function complete<T>(pendings: readonly Pending<T>[]): T[] {
  for (let turn = 0; turn < 10; turn++)
    if (pendings.map((pending) => pending.test()).every((done) => done)) break;
  return pendings.map((pending) => {
    expect(pending.missing()).toEqual([]);
    return pending.result();
  });
}

function random(length: number, seed: number): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

describe('channels', () => {
  it('deliver messages of any length in order, from and to shared and private memory', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5000 }),
        fc.boolean(),
        fc.boolean(),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 6 }),
        (length, sharedSource, sharedTarget, parts) => {
          const [a, b] = attachAll(2) as [Transport, Transport];
          const source = sharedSource ? a.allocate(length) : new Uint8Array(length);
          const target = sharedTarget ? b.allocate(length) : new Uint8Array(length);
          const send = a.openSend(1, 7, source);
          const receive = b.openReceive(0, 7, target);
          parts.forEach((part, index) => {
            const bytes = Math.floor(part * length);
            source.set(random(length, index));
            if (index % 2 === 0) receive.start();
            send.start(bytes);
            if (index % 2 === 1) receive.start();
            expect(send.test()).toBe(false);
            expect(receive.test()).toBe(true);
            expect(send.test()).toBe(true);
            expect(receive.transferredBytes).toBe(bytes);
            expect(Buffer.compare(target.subarray(0, bytes), source.subarray(0, bytes))).toBe(0);
          });
          const sum = parts.reduce((total, part) => total + Math.floor(part * length), 0);
          expect(a.counters.report().sent.intra).toEqual({ messages: parts.length, bytes: sum });
          expect(b.counters.report().received.intra).toEqual({ messages: parts.length, bytes: sum });
          expect(a.counters.report().received.intra.messages).toBe(0);
          for (const transport of open) transport.close();
        },
      ),
      { numRuns: 60, seed: 31 },
    );
  });

  it('advance all started receives by progress, and go on where a closed pair stopped', () => {
    const [a, b] = attachAll(2) as [Transport, Transport];
    for (let round = 0; round < 3; round++) {
      const send = a.openSend(1, 0, Uint8Array.of(round));
      send.start();
      const target = new Uint8Array(1);
      const receive = b.openReceive(0, 0, target);
      receive.start();
      b.progress();
      expect(send.test()).toBe(true);
      expect(target[0]).toBe(round);
      expect(receive.test()).toBe(true);
      send.close();
      receive.close();
      receive.close();
    }
  });

  it('keep tags, directions and pairs of ranks apart', () => {
    const transports = attachAll(3);
    const links = transports.flatMap((from) =>
      transports
        .filter((to) => to !== from)
        .flatMap((to) =>
          [0, 15, 16, 1023].map((tag) => {
            const value = from.rank * 64 + to.rank * 16 + (tag % 16);
            const target = new Uint8Array(1);
            return {
              value,
              target,
              receive: to.openReceive(from.rank, tag, target),
              send: from.openSend(to.rank, tag, Uint8Array.of(value)),
            };
          }),
        ),
    );
    for (const { receive } of links) receive.start();
    for (const { send } of links) send.start();
    for (const { receive, send, target, value } of links) {
      expect(receive.test() && send.test()).toBe(true);
      expect(target[0]).toBe(value);
    }
  });

  it('reduce while they receive, with the bits of the reference, wherever the operands lie', () => {
    const [a, b] = attachAll(2) as [Transport, Transport];
    const cases = [
      ['f32', 'sum', 40_000],
      ['bf16', 'sum', 1234],
      ['f16', 'max', 66],
      ['i32', 'min', 8],
    ] as const;
    let tag = 0;
    for (const [dtype, reduction, length] of cases) {
      for (const shared of [true, false]) {
        const make = (seed: number, transport: Transport): Uint8Array => {
          const bytes = shared ? transport.allocate(length) : new Uint8Array(length);
          bytes.set(random(length, seed));
          return bytes;
        };
        const [source, left, target] = [make(1, a), make(2, b), make(3, b)];
        const view = (bytes: Uint8Array) => {
          const copy = bytes.slice().buffer;
          if (dtype === 'f32') return new Float32Array(copy);
          return dtype === 'i32' ? new Int32Array(copy) : new Uint16Array(copy);
        };
        const expected = view(target);
        reference.reduce(dtype, reduction, view(left), view(source), expected, expected.length);
        const wanted = new Uint8Array(expected.buffer);
        const receive = b.openReceiveReduce?.(0, tag, { dtype, reduction, target, left });
        const send = a.openSend(1, tag, source);
        receive?.start();
        send.start();
        expect(receive?.test()).toBe(true);
        expect(Buffer.compare(target, wanted)).toBe(0);
        const local = make(9, b);
        b.bindReduction?.(dtype, reduction, local, left, make(1, b))?.run();
        expect(Buffer.compare(local, wanted)).toBe(0);
        tag++;
      }
    }
    expect(() =>
      b.bindReduction?.('u8', 'sum', new Uint8Array(1), new Uint8Array(1), new Uint8Array(1)),
    ).toThrow('got u8');
  });

  it('refuse a message that is too long on both sides, and stay usable', () => {
    const [a, b] = attachAll(2) as [Transport, Transport];
    const send = a.openSend(1, 0, new Uint8Array(10));
    const target = new Uint8Array(9);
    const receive = b.openReceive(0, 0, target);
    send.start();
    receive.start();
    b.progress();
    expect(() => receive.test()).toThrow('rank 0 sent 10 bytes to rank 1, which expected at most 9');
    expect(() => send.test()).toThrow('rank 0 sent 10 bytes to rank 1');
    expect(send.test() && receive.test()).toBe(true);
    send.start(9);
    receive.start();
    expect(receive.test() && send.test()).toBe(true);
    expect(() => send.start(11)).toThrow('at most 10 bytes');
  });

  it('refuse bad peers and tags', () => {
    const [a] = attachAll(2) as [Transport];
    for (const peer of [0, 2, -1, 0.5]) expect(() => a.openSend(peer, 0, new Uint8Array(1))).toThrow('peer');
    for (const tag of [-1, 1024, Number.NaN])
      expect(() => a.openReceive(1, tag, new Uint8Array(1))).toThrow('tag');
  });
});

describe('agree', () => {
  it('gathers payloads of any length, round after round', () => {
    const transports = attachAll(3);
    for (let round = 0; round < 5; round++) {
      const payloads = transports.map((_, rank) => random(rank * 700 * round, rank + round));
      const results = complete(
        transports.map((transport, rank) => transport.agree(payloads[rank] as Uint8Array)),
      );
      for (const result of results) expect(result).toEqual(payloads);
    }
  });

  it('names who is missing, and refuses too long a payload', () => {
    const [a, b] = attachAll(3) as [Transport, Transport];
    const pending = a.agree(new Uint8Array(1));
    b.agree(new Uint8Array(0));
    expect(pending.test()).toBe(false);
    expect(pending.missing()).toEqual([2]);
    expect(() => b.agree(new Uint8Array((1 << 20) + 1))).toThrow('at most 1048576 bytes');
  });
});

describe('split', () => {
  it('makes disjoint groups with channels and counters of their own', () => {
    const transports = attachAll(4);
    const lists = [[2, 0], [], [2, 0], []];
    const children = complete(transports.map((transport, rank) => transport.split(lists[rank] as number[])));
    expect(children[1]).toBeUndefined();
    const [second, first] = [children[0], children[2]] as [Transport, Transport];
    expect([first.rank, second.rank, first.size]).toEqual([0, 1, 2]);
    const target = new Uint8Array(4);
    const receive = second.openReceive(0, 0, target);
    const send = first.openSend(1, 0, Uint8Array.of(1, 2, 3, 4));
    for (const transport of transports) transport.close();
    receive.start();
    send.start();
    expect(receive.test() && send.test()).toBe(true);
    expect([...target]).toEqual([1, 2, 3, 4]);
    expect(transports[2]?.counters.bytesSent[0]).toBe(0);
    expect(first.counters.bytesSent[1]).toBe(4);
    first.close();
    second.close();
  });

  it('keeps the nodes of the members', () => {
    const world = WorkerWorld.create({
      ranks: 4,
      topology: createTopology([0, 0, 1, 1]),
      bytesPerRank: 1 << 18,
    });
    open = [0, 1, 2, 3].map((rank) => attachWorkerTransport(world.handle(rank)));
    const children = complete(open.map((transport) => transport.split([1, 2, 3, 0])));
    expect([...(children[0] as Transport).topology.nodeOf]).toEqual([0, 1, 1, 0]);
    for (const child of children) child?.close();
  });

  it('frees all memory of groups that every member has closed', () => {
    const transports = attachAll(2, 1 << 18);
    for (let round = 0; round < 300; round++) {
      const children = complete(transports.map((transport) => transport.split([0, 1]))) as Transport[];
      const target = (children[1] as Transport).allocate(8192);
      const send = (children[0] as Transport).openSend(1, 5, new Uint8Array(8192));
      const receive = (children[1] as Transport).openReceive(0, 5, target);
      send.start();
      receive.start();
      expect(receive.test() && send.test()).toBe(true);
      complete(children.map((child) => child.agree(new Uint8Array(2000))));
      for (const child of round % 2 === 0 ? children : children.reverse()) child.close();
    }
  });
});

describe('failures', () => {
  it('reach every rank, with reason and in the numbering of each group', () => {
    const transports = attachAll(4);
    const children = complete(transports.map((transport) => transport.split([3, 2, 1, 0])));
    transports[0]?.fail([2], 'ran   away');
    for (const rank of [0, 1, 3]) {
      expect(transports[rank]?.failure()).toEqual({ ranks: [2], reason: 'ran away' });
      expect(children[rank]?.failure()).toEqual({ ranks: [1], reason: 'ran away' });
    }
    transports[1]?.fail([0], 'too');
    expect(transports[3]?.failure()).toEqual({ ranks: [0, 2], reason: 'too; ran away' });
    for (const child of children) child?.close();
  });

  it('count a rank that closed only where something is expected of it', () => {
    const [a, b, c] = attachAll(3) as [Transport, Transport, Transport];
    const receive = b.openReceive(0, 0, new Uint8Array(1));
    const send = a.openSend(1, 0, new Uint8Array(1));
    send.start();
    receive.start();
    expect(receive.test() && send.test()).toBe(true);
    receive.start();
    a.close();
    expect(c.failure()).toBeUndefined();
    expect(b.failure()).toEqual({ ranks: [0], reason: 'closed its communicator or ended its thread' });
    c.agree(new Uint8Array(0));
    expect(c.failure()?.ranks).toEqual([0]);
  });

  it('do not take what a rank posted before it broke off', () => {
    const [a, b] = attachAll(2) as [Transport, Transport];
    const source = a.allocate(1000).fill(1);
    a.openSend(1, 0, source).start();
    a.abandon(new Error('timed out'));
    const receive = b.openReceive(0, 0, new Uint8Array(1000));
    receive.start();
    expect(receive.test()).toBe(false);
    expect(b.failure()).toBeUndefined();
    a.close();
    expect(b.failure()?.ranks).toEqual([0]);
    expect(receive.test()).toBe(false);
  });

  it('leave survivors that shrink to a group in old order', () => {
    const transports = attachAll(4);
    transports[3]?.fail([1], 'gone');
    const pendings = [3, 0].map((rank) => (transports[rank] as Transport).shrink());
    for (const pending of pendings) {
      expect(pending.test()).toBe(false);
      expect(pending.missing()).toEqual([2]);
    }
    // A second death while the others wait.
    transports[0]?.fail([2], 'gone too');
    const [second, first] = complete(pendings) as [Transport, Transport];
    expect([first.rank, second.rank, first.size]).toEqual([0, 1, 2]);
    expect(first.failure()).toBeUndefined();
    expect(() => (transports[2] as Transport).shrink().test()).toThrow('continue without it');
    first.close();
    second.close();
  });
});

describe('WorkerWorld and handles', () => {
  it('refuses bad sizes and topologies', () => {
    expect(() => WorkerWorld.create({ ranks: 0 })).toThrow('ranks from 1 to 256, got 0');
    expect(() => WorkerWorld.create({ ranks: 2, bytesPerRank: 3e9 })).toThrow('bytesPerRank from 65536');
    expect(() => WorkerWorld.create({ ranks: 2, topology: createTopology([0]) })).toThrow(
      'topology of 2 ranks',
    );
    expect(() => WorkerWorld.create({ ranks: 2, bytesPerRank: 1 << 18 }).handle(2)).toThrow('below 2, got 2');
  });

  it('attaches each rank once, and only by a handle', () => {
    const world = WorkerWorld.create({ ranks: 1, bytesPerRank: 1 << 18 });
    open = [attachWorkerTransport(world.handle(0))];
    expect(() => attachWorkerTransport(world.handle(0))).toThrow('attached already');
    expect(() => attachWorkerTransport()).toThrow('not started as a rank');
    const handle = world.handle(0);
    for (const bad of [
      { ...handle, rank: 7 },
      { ...handle, worldOffset: 0 },
      { ...handle, nodeOf: [] },
      {},
      null,
    ]) {
      expect(() => attachWorkerTransport(bad as typeof handle)).toThrow('handle of a rank');
    }
  });

  it('gives out-of-memory errors that say what is left', () => {
    const [a] = attachAll(1, 1 << 18) as [Transport];
    expect(() => a.allocate(1 << 20)).toThrow(/expected 1048576 free bytes .* got 262144/);
    const region = a.allocate(1 << 17);
    a.release(region);
    a.release(new Uint8Array(3));
    expect(a.allocate(1 << 18).every((byte) => byte === 0)).toBe(true);
  });
});
