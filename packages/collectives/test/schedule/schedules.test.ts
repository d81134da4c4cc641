import { reference } from '@moestack/kernels';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CollectiveOp } from '../../src/communicator/communicator.js';
import {
  bytesPerElement,
  type Dtype,
  type DtypeArray,
  type Reduction,
  viewAs,
} from '../../src/communicator/dtype.js';
import { createTopology, type Topology } from '../../src/communicator/topology.js';
import {
  algorithmsOf,
  createSchedule,
  type NamedAlgorithm,
  supports,
} from '../../src/schedule/create-schedule.js';
import { interpret, type RankMemory } from './interpret.js';

const dtypes = ['f32', 'bf16', 'f16', 'i32'] as const;
const reductions = ['sum', 'max', 'min'] as const;

interface Case {
  readonly op: CollectiveOp;
  readonly algorithm: NamedAlgorithm;
  readonly topology: Topology;
  readonly dtype: (typeof dtypes)[number];
  readonly reduction: Reduction;
  readonly counts: number[];
  readonly root: number;
  readonly inPlace: boolean;
  readonly seed: number;
}

/** Small whole numbers: every order of reduction gives the same value, so a naive reference is exact. */
function fill(array: DtypeArray, dtype: Dtype, next: () => number): void {
  for (let index = 0; index < array.length; index++) {
    const value = Math.floor(next() * 16) - 8;
    array[index] =
      dtype === 'bf16' ? reference.encodeBf16(value) : dtype === 'f16' ? reference.encodeF16(value) : value;
  }
}

function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function combineWith(dtype: (typeof dtypes)[number], reduction: Reduction) {
  return (left: Uint8Array, right: Uint8Array): Uint8Array => {
    const out = new Uint8Array(left.length);
    const result = viewAs(dtype, out) as Float32Array;
    const a = viewAs(dtype, left.slice()) as Float32Array;
    const b = viewAs(dtype, right.slice()) as Float32Array;
    reference.reduce(dtype, reduction, a, b, result, result.length);
    return out;
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Bytes of input and output of `rank`. */
function bufferBytes(test: Case, rank: number): [number, number] {
  const { op, counts, root } = test;
  const { size } = test.topology;
  const bytes = bytesPerElement(test.dtype);
  const total = sum(counts) * bytes;
  const own = (counts[rank] ?? 0) * bytes;
  const vector = (counts[0] ?? 0) * bytes;
  switch (op) {
    case 'allReduce':
      return [vector, vector];
    case 'reduce':
      return [vector, rank === root ? vector : 0];
    case 'broadcast':
      return [0, vector];
    case 'reduceScatter':
      return [total, own];
    case 'allGather':
      return [own, total];
    case 'gather':
      return [own, rank === root ? total : 0];
    case 'scatter':
      return [rank === root ? total : 0, own];
    case 'allToAll': {
      let sends = 0;
      let receives = 0;
      for (let peer = 0; peer < size; peer++) {
        sends += counts[rank * size + peer] as number;
        receives += counts[peer * size + rank] as number;
      }
      return [sends * bytes, receives * bytes];
    }
    default:
      return [0, 0];
  }
}

/** What every rank must hold at the end, by definition of the operation. */
function expected(
  test: Case,
  inputs: readonly Uint8Array[],
  rootData: Uint8Array,
): (Uint8Array | undefined)[] {
  const { op, counts, root, dtype, reduction } = test;
  const { size } = test.topology;
  const bytes = bytesPerElement(dtype);
  const combine = combineWith(dtype, reduction);
  const reduced = (): Uint8Array => inputs.slice(1).reduce(combine, inputs[0] as Uint8Array);
  const offset = (rank: number): number => sum(counts.slice(0, rank)) * bytes;
  const own = (rank: number): number => (counts[rank] as number) * bytes;
  const ranks = Array.from({ length: size }, (_, rank) => rank);
  const joined = (): Uint8Array => new Uint8Array(Buffer.concat(inputs));
  switch (op) {
    case 'allReduce':
      return ranks.map(reduced);
    case 'reduce':
      return ranks.map((rank) => (rank === root ? reduced() : undefined));
    case 'broadcast':
      return ranks.map(() => rootData);
    case 'reduceScatter':
      return ranks.map((rank) => reduced().slice(offset(rank), offset(rank) + own(rank)));
    case 'allGather':
      return ranks.map(joined);
    case 'gather':
      return ranks.map((rank) => (rank === root ? joined() : undefined));
    case 'scatter':
      return ranks.map((rank) => (inputs[root] as Uint8Array).slice(offset(rank), offset(rank) + own(rank)));
    case 'allToAll':
      return ranks.map((to) => {
        const parts = ranks.map((from) => {
          const row = counts.slice(from * size, from * size + size);
          const start = sum(row.slice(0, to)) * bytes;
          return (inputs[from] as Uint8Array).slice(start, start + (row[to] as number) * bytes);
        });
        return new Uint8Array(Buffer.concat(parts));
      });
    default:
      return ranks.map(() => undefined);
  }
}

function check(test: Case): void {
  const { op, topology, dtype, root, inPlace } = test;
  const { size } = topology;
  const next = generator(test.seed);
  const schedules = Array.from({ length: size }, (_, rank) =>
    createSchedule({
      op,
      algorithm: test.algorithm,
      rank,
      topology,
      elementBytes: bytesPerElement(dtype),
      counts: test.counts,
      root,
      inPlace,
    }),
  );
  const memories = schedules.map((schedule, rank): RankMemory => {
    const [inputBytes, outputBytes] = bufferBytes(test, rank);
    const input = new Uint8Array(inputBytes);
    fill(viewAs(dtype, input), dtype, next);
    const shared = inPlace && inputBytes === outputBytes;
    const output = shared ? input : new Uint8Array(outputBytes).fill(0xa5);
    if (op === 'broadcast' && rank === root) fill(viewAs(dtype, output), dtype, next);
    return { in: input, out: output, scratch: new Uint8Array(schedule.scratchBytes).fill(0x5a) };
  });
  const inputs = memories.map((memory) => memory.in.slice());
  const results = expected(test, inputs, (memories[root] as RankMemory).out.slice());
  interpret(schedules, memories, combineWith(dtype, test.reduction));
  memories.forEach((memory, rank) => {
    const result = results[rank];
    if (result !== undefined) expect(Buffer.compare(memory.out, result), `output of rank ${rank}`).toBe(0);
    if (!inPlace)
      expect(Buffer.compare(memory.in, inputs[rank] as Uint8Array), `input of rank ${rank}`).toBe(0);
  });
}

const topologies = fc.integer({ min: 1, max: 9 }).chain((size) =>
  fc.oneof(
    fc
      .constantFrom(...[1, 2, 3, 4].filter((nodes) => size % nodes === 0))
      .map((nodes) =>
        createTopology(Array.from({ length: size }, (_, rank) => Math.floor(rank / (size / nodes)))),
      ),
    fc
      .array(fc.integer({ min: 0, max: 2 }), { minLength: size, maxLength: size })
      .map((nodes) => createTopology(nodes)),
  ),
);

function cases(op: CollectiveOp, algorithm: NamedAlgorithm): fc.Arbitrary<Case> {
  const count = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 40 }));
  return topologies
    .filter((topology) => supports(op, algorithm, topology))
    .chain((topology) => {
      const { size } = topology;
      const length =
        op === 'allToAll' ? size * size : ['allReduce', 'reduce', 'broadcast'].includes(op) ? 1 : size;
      return fc.record({
        op: fc.constant(op),
        algorithm: fc.constant(algorithm),
        topology: fc.constant(topology),
        dtype: fc.constantFrom(...dtypes),
        reduction: fc.constantFrom(...reductions),
        counts: fc.array(count, { minLength: length, maxLength: length }),
        root: fc.integer({ min: 0, max: size - 1 }),
        inPlace: op === 'allReduce' || op === 'reduce' ? fc.boolean() : fc.constant(false),
        seed: fc.nat(),
      });
    });
}

describe('every schedule gives what its operation promises', () => {
  for (const [op, algorithms] of Object.entries(algorithmsOf) as [CollectiveOp, NamedAlgorithm[]][]) {
    for (const algorithm of algorithms) {
      it(`${op}, ${algorithm}: any size, topology, dtype, ragged and zero counts`, () => {
        fc.assert(fc.property(cases(op, algorithm), check), { seed: 5, numRuns: 100 });
      });
      it(`${op}, ${algorithm}: every size from 1 to 9`, () => {
        for (let size = 1; size <= 9; size++) {
          for (const dtype of dtypes) {
            const length =
              op === 'allToAll' ? size * size : ['allReduce', 'reduce', 'broadcast'].includes(op) ? 1 : size;
            const counts = Array.from({ length }, (_, index) => (index * 7 + size) % 11);
            const topology = createTopology(new Int32Array(size));
            check({
              op,
              algorithm,
              topology,
              dtype,
              reduction: 'sum',
              counts,
              root: size - 1,
              inPlace: false,
              seed: size,
            });
          }
        }
      });
    }
  }
});
