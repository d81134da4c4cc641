import { CollectivesError } from '../errors.js';
import { algorithmsOf } from '../schedule/create-schedule.js';
import type { Algorithm, CollectiveOp, PlanRequest } from './communicator.js';
import type { Dtype, DtypeArray, Reduction } from './dtype.js';

/** A validated collective request, with defaults filled in; counts are elements. */
export interface Operation {
  readonly op: CollectiveOp;
  readonly algorithm: Algorithm | 'auto';
  readonly dtype: Dtype;
  readonly reduction: Reduction;
  readonly root: number;
  readonly variable: boolean;
  /** As in ScheduleRequest; for allToAll what this rank sends to each. */
  readonly counts: readonly number[];
  /** allToAll: what this rank receives from each; else empty. */
  readonly receiveCounts: readonly number[];
  readonly inputElements: number;
  readonly outputElements: number;
}

/** A request of one of the collective operations. */
export type CollectiveRequest = Exclude<PlanRequest, { op: 'send' | 'receive' }>;

export const dtypes: readonly Dtype[] = ['f32', 'bf16', 'f16', 'i32', 'u8'];
export const reductions: readonly Reduction[] = ['sum', 'max', 'min'];
export const algorithms: readonly (Algorithm | 'auto')[] = [
  'auto',
  'ring',
  'recursive-doubling',
  'halving-doubling',
  'bruck',
  'pairwise',
  'binomial',
  'two-level',
  'direct',
  'dissemination',
  'native',
];
export const collectiveOps: readonly CollectiveOp[] = [
  'allReduce',
  'reduceScatter',
  'allGather',
  'allToAll',
  'broadcast',
  'reduce',
  'gather',
  'scatter',
  'barrier',
];

/** Validates what one rank can check alone. @throws CollectivesError `bad-config`, `bad-shape` or `unsupported`. */
export function normalize(request: CollectiveRequest, rank: number, size: number): Operation {
  const { op } = request;
  oneOf('op', collectiveOps, op);
  const algorithm = request.algorithm ?? 'auto';
  oneOf('algorithm', algorithms, algorithm);
  if (algorithm !== 'auto' && algorithm !== 'native' && !algorithmsOf[op].includes(algorithm)) {
    throw new CollectivesError({
      code: 'collectives/unsupported',
      message: `expected one of ${algorithmsOf[op].join(', ')}, native, auto for ${op}, got ${algorithm}`,
      value: algorithm,
      remedy: 'choose one of these',
    });
  }
  const base = {
    op,
    algorithm,
    dtype: 'u8' as Dtype,
    reduction: 'sum' as Reduction,
    root: 0,
    variable: false,
  };
  if (request.op === 'barrier') {
    return { ...base, counts: [], receiveCounts: [], inputElements: 0, outputElements: 0 };
  }
  oneOf('dtype', dtypes, request.dtype);
  const common = {
    ...base,
    dtype: request.dtype,
    reduction: reductionOf(request),
    root: 'root' in request ? rootOf(request.root, size) : 0,
    receiveCounts: [] as readonly number[],
  };
  switch (request.op) {
    case 'allReduce':
    case 'reduce':
    case 'broadcast': {
      const count = element('count', request.count);
      const result = request.op === 'reduce' && rank !== common.root ? 0 : count;
      const given =
        request.op === 'broadcast' && (rank !== common.root || request.input === undefined) ? 0 : count;
      return { ...common, counts: [count], inputElements: given, outputElements: result };
    }
    case 'allToAll': {
      const counts = countList('sendCounts', request.sendCounts, size);
      const receiveCounts = countList('receiveCounts', request.receiveCounts, size);
      const variable = request.variable ?? false;
      if (variable && algorithm !== 'auto' && algorithm !== 'direct') {
        throw new CollectivesError({
          code: 'collectives/unsupported',
          message: `expected direct or auto for allToAll with variable counts, got ${algorithm}`,
          value: algorithm,
          remedy: 'leave the algorithm out, or plan fixed counts',
        });
      }
      return {
        ...common,
        variable,
        counts,
        receiveCounts,
        inputElements: total('sendCounts', counts),
        outputElements: total('receiveCounts', receiveCounts),
      };
    }
    default: {
      const counts = countList('counts', request.counts, size);
      const whole = total('counts', counts);
      const own = counts[rank] as number;
      const isRoot = rank === common.root;
      const [inputElements, outputElements] = {
        reduceScatter: [whole, own],
        allGather: [own, whole],
        gather: [own, isRoot ? whole : 0],
        scatter: [isRoot ? whole : 0, own],
      }[request.op] as [number, number];
      return { ...common, counts, inputElements, outputElements };
    }
  }
}

function reductionOf(request: CollectiveRequest): Reduction {
  if (request.op !== 'allReduce' && request.op !== 'reduceScatter' && request.op !== 'reduce') return 'sum';
  const reduction = request.reduction ?? 'sum';
  oneOf('reduction', reductions, reduction);
  if (request.dtype === 'u8') {
    throw new CollectivesError({
      code: 'collectives/unsupported',
      message: `expected f32, bf16, f16 or i32 for ${request.op}, got u8`,
      value: 'u8',
      remedy: 'u8 carries opaque bytes: move them, or choose the dtype of what they hold',
    });
  }
  return reduction;
}

function oneOf(what: string, names: readonly string[], name: string): void {
  if (!names.includes(name)) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected one of ${names.join(', ')} for ${what}, got ${String(name)}`,
      value: name,
      remedy: 'pass one of these',
    });
  }
}

function element(what: string, count: number): number {
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected a whole number of elements of at least 0 for ${what}, got ${count}`,
      value: count,
      remedy: 'pass the number of elements',
    });
  }
  return count;
}

/** Validates a rank of the communicator. */
export function rankOf(what: string, rank: number, size: number): number {
  if (!Number.isInteger(rank) || rank < 0 || rank >= size) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected a rank in 0 to ${size - 1} for ${what}, got ${rank}`,
      value: rank,
      remedy: 'pass a rank of this communicator',
    });
  }
  return rank;
}

function rootOf(root: number, size: number): number {
  return rankOf('root', root, size);
}

function countList(what: string, counts: number | ArrayLike<number>, size: number): number[] {
  if (typeof counts === 'number') return new Array<number>(size).fill(element(what, counts));
  if (counts.length !== size) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected ${size} entries for ${what}, one for each rank, got ${counts.length}`,
      value: counts.length,
      remedy: 'pass one count for each rank, or a number for equal counts',
    });
  }
  return Array.from(counts, (count, rank) => element(`${what}[${rank}]`, count));
}

function total(what: string, counts: readonly number[]): number {
  return element(
    `the sum of ${what}`,
    counts.reduce((sum, count) => sum + count, 0),
  );
}

/** Checks a caller's buffer: the array class of the dtype, and exactly `elements` long. */
export function checkBuffer(name: string, array: DtypeArray, dtype: Dtype, elements: number): void {
  const kind =
    dtype === 'f32' ? Float32Array : dtype === 'i32' ? Int32Array : dtype === 'u8' ? Uint8Array : Uint16Array;
  if (!(array instanceof kind)) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected a ${kind.name} for ${name} of dtype ${dtype}, got ${(array as object)?.constructor?.name}`,
      value: dtype,
      remedy: 'bf16 and f16 travel as codes in a Uint16Array',
    });
  }
  if (array.length !== elements) {
    throw new CollectivesError({
      code: 'collectives/bad-shape',
      message: `expected ${elements} elements in ${name}, got ${array.length}`,
      value: array.length,
      remedy: 'pass a subarray of the exact length, or leave the buffer out to have it allocated',
    });
  }
}

/** Whether two arrays share memory: `same` start, partial `overlap`, or `apart`. */
export function aliasing(a: DtypeArray, b: DtypeArray): 'same' | 'overlap' | 'apart' {
  if (a.buffer !== b.buffer || a.byteLength === 0 || b.byteLength === 0) return 'apart';
  if (a.byteOffset === b.byteOffset && a.byteLength === b.byteLength) return 'same';
  const apart = a.byteOffset + a.byteLength <= b.byteOffset || b.byteOffset + b.byteLength <= a.byteOffset;
  return apart ? 'apart' : 'overlap';
}
