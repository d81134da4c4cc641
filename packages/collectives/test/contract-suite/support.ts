import assert from 'node:assert/strict';
import { reference } from '@moestack/kernels';
import type { CollectiveOp, Communicator } from '../../src/communicator/communicator.js';
import {
  bytesPerElement,
  type Dtype,
  type DtypeArray,
  type Reduction,
  viewAs,
} from '../../src/communicator/dtype.js';
import type { Topology } from '../../src/communicator/topology.js';
import { createSchedule, type NamedAlgorithm } from '../../src/schedule/create-schedule.js';
import type { Schedule } from '../../src/schedule/ir.js';
import { interpret, type RankMemory } from '../schedule/interpret.js';

/** A case of the contract: run on every rank at the same time; throws on the rank that sees a difference. */
export interface ContractCase {
  readonly name: string;
  /** Leaves its communicator broken, which ends the whole job on MPI. */
  readonly breaks?: boolean;
  /** Smallest group it makes sense for; default 1. */
  readonly minimumRanks?: number;
  run(comm: Communicator): Promise<void>;
}

export const reducible = ['f32', 'bf16', 'f16', 'i32'] as const;

export type Reducible = (typeof reducible)[number];

/** Seeded numbers in [0, 1). */
export function generator(seed: number): () => number {
  let state = (seed * 2654435761 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Values whose sums depend on the order of addition. */
export function randomBytes(dtype: Dtype, elements: number, seed: number): Uint8Array {
  const next = generator(seed);
  const bytes = new Uint8Array(elements * bytesPerElement(dtype));
  const array = viewAs(dtype, bytes);
  for (let index = 0; index < elements; index++) {
    const value = Math.fround((next() - 0.5) * 2 ** Math.floor(next() * 12));
    if (dtype === 'bf16') array[index] = reference.encodeBf16(value);
    else if (dtype === 'f16') array[index] = reference.encodeF16(value);
    else array[index] = dtype === 'f32' ? value : Math.floor(value * 1000);
  }
  return bytes;
}

export function combine(dtype: Reducible, reduction: Reduction) {
  return (left: Uint8Array, right: Uint8Array): Uint8Array => {
    const out = new Uint8Array(left.length);
    const view = (bytes: Uint8Array): Float32Array => viewAs(dtype, bytes.slice()) as Float32Array;
    const result = viewAs(dtype, out) as Float32Array;
    reference.reduce(dtype, reduction, view(left), view(right), result, result.length);
    return out;
  };
}

export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) total += values[index] as number;
  return total;
}

/** What one operation is about; counts as in ScheduleRequest. */
export interface Shape {
  readonly op: CollectiveOp;
  readonly algorithm: NamedAlgorithm;
  readonly dtype: Reducible;
  readonly reduction: Reduction;
  readonly counts: readonly number[];
  readonly root: number;
}

/** Elements of input and output of `rank`. */
export function lengths(shape: Shape, rank: number, size: number): [number, number] {
  const { op, counts, root } = shape;
  const total = sum(counts);
  const own = counts[rank] ?? 0;
  const vector = counts[0] ?? 0;
  switch (op) {
    case 'allReduce':
      return [vector, vector];
    case 'reduce':
      return [vector, rank === root ? vector : 0];
    case 'broadcast':
      return [rank === root ? vector : 0, vector];
    case 'reduceScatter':
      return [total, own];
    case 'allGather':
      return [own, total];
    case 'gather':
      return [own, rank === root ? total : 0];
    case 'scatter':
      return [rank === root ? total : 0, own];
    case 'allToAll': {
      const ranks = Array.from({ length: size }, (_, peer) => peer);
      return [
        sum(ranks.map((peer) => counts[rank * size + peer] as number)),
        sum(ranks.map((peer) => counts[peer * size + rank] as number)),
      ];
    }
    default:
      return [0, 0];
  }
}

interface Interpretation {
  readonly outputs: Uint8Array[];
  readonly schedules: Schedule[];
}

/** The latest interpretations: where ranks share a thread, they all ask for the same ones. */
const interpretations = new Map<string, Interpretation>();
const MAX_INTERPRETATIONS = 64;

/** Outputs of all ranks by interpreting the schedules on plain memory, with the inputs of {@link randomBytes}. */
export function interpreted(
  comm: Communicator,
  shape: Shape,
  seed: number,
): { outputs: Uint8Array[]; schedule: Schedule } {
  const key = JSON.stringify([shape, seed, [...comm.topology.nodeOf]]);
  let found = interpretations.get(key);
  if (found === undefined) {
    found = interpretAll(comm.topology, shape, seed);
    interpretations.set(key, found);
    if (interpretations.size > MAX_INTERPRETATIONS) {
      interpretations.delete(interpretations.keys().next().value as string);
    }
  }
  return { outputs: found.outputs, schedule: found.schedules[comm.rank] as Schedule };
}

function interpretAll(topology: Topology, shape: Shape, seed: number): Interpretation {
  const { size } = topology;
  const elementBytes = bytesPerElement(shape.dtype);
  const schedules = Array.from({ length: size }, (_, rank) =>
    createSchedule({ ...shape, rank, topology, elementBytes }),
  );
  const memories = schedules.map((schedule, rank): RankMemory => {
    const [inputs, outputs] = lengths(shape, rank, size);
    const input = randomBytes(shape.dtype, inputs, seed + rank);
    const out = new Uint8Array(outputs * elementBytes);
    if (shape.op === 'broadcast' && rank === shape.root) out.set(input);
    return { in: input, out, scratch: new Uint8Array(schedule.scratchBytes) };
  });
  interpret(schedules, memories, combine(shape.dtype, shape.reduction));
  return { outputs: memories.map((memory) => memory.out), schedules };
}

export function bytesOf(array: DtypeArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

export function sameBytes(actual: DtypeArray, expected: Uint8Array, what: string): void {
  assert.equal(Buffer.compare(bytesOf(actual), expected), 0, `${what}: other bytes than expected`);
}

/** Waits for a promise that must reject; returns the error. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  assert.fail('expected a rejection');
}
