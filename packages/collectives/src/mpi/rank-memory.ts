import { Arena, ReduceKernels } from '@moestack/kernels';
import type { Dtype, Reduction } from '../communicator/dtype.js';
import type { BoundReduction } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { SegmentHeap } from '../worker/heap.js';

/** Nothing lies below: address 0 means "outside". */
const RESERVED_BYTES = 1024;
/** Vector loads may reach a little beyond the end of a view. */
const TAIL_BYTES = 256;
const PIECE_BYTES = 64 * 1024;

/**
 * Memory of one process where the SIMD kernels reduce in place. What does not fit gets ordinary memory, which the kernels reach through
 * a small staging area.
 */
export class RankMemory {
  readonly #arena: Arena;
  readonly #bytes: Uint8Array;
  readonly #heap: SegmentHeap;
  readonly #kernels: ReduceKernels;
  /** Three pieces: left, right, target. */
  readonly #staging: number;

  constructor(bytes: number) {
    this.#arena = Arena.create({ maximumBytes: bytes + 3 * PIECE_BYTES + RESERVED_BYTES + TAIL_BYTES });
    const { buffer } = this.#arena.memory;
    this.#bytes = new Uint8Array(buffer);
    this.#heap = new SegmentHeap(buffer, RESERVED_BYTES, this.#arena.capacityBytes - TAIL_BYTES);
    this.#kernels = new ReduceKernels(this.#arena);
    this.#staging = this.#heap.allocate(3 * PIECE_BYTES);
  }

  /** Zeroed bytes; ordinary memory when this one is full. */
  allocate(bytes: number): Uint8Array {
    try {
      const address = this.#heap.allocate(bytes);
      return new Uint8Array(this.#bytes.buffer, address, bytes);
    } catch (error) {
      if (!CollectivesError.isInstance(error) || error.code !== 'collectives/out-of-memory') throw error;
    }
    try {
      return new Uint8Array(bytes);
    } catch (cause) {
      throw new CollectivesError({
        code: 'collectives/out-of-memory',
        message: `the system refused ${bytes} bytes`,
        value: bytes,
        remedy: 'ask for less, or use more ranks',
        cause,
      });
    }
  }

  release(region: Uint8Array): void {
    if (region.buffer === this.#bytes.buffer) this.#heap.release(region.byteOffset);
  }

  /** `target = left ⊕ right` by SIMD. */
  bindReduction(
    dtype: Exclude<Dtype, 'u8'>,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ): BoundReduction {
    const codes = [ReduceKernels.dtypeCode(dtype), ReduceKernels.operationCode(reduction)] as const;
    const pieces: Piece[] = [];
    for (let at = 0; at < target.length; at += PIECE_BYTES) {
      const end = Math.min(at + PIECE_BYTES, target.length);
      pieces.push({
        bytes: end - at,
        left: this.#operand(left, at, end, 0),
        right: this.#operand(right, at, end, 1),
        target: this.#operand(target, at, end, 2),
      });
    }
    return new KernelReduction(this.#kernels, codes[0], codes[1], pieces);
  }

  #operand(view: Uint8Array, at: number, end: number, slot: number): Operand {
    if (view.buffer === this.#bytes.buffer)
      return { address: view.byteOffset + at, outside: undefined, staged: undefined };
    const address = this.#staging + slot * PIECE_BYTES;
    return {
      address,
      outside: view.subarray(at, end),
      staged: this.#bytes.subarray(address, address + end - at),
    };
  }
}

/** Where the kernels find an operand, and the memory it is copied from or to when that is elsewhere. */
interface Operand {
  readonly address: number;
  readonly outside: Uint8Array | undefined;
  readonly staged: Uint8Array | undefined;
}

interface Piece {
  readonly bytes: number;
  readonly left: Operand;
  readonly right: Operand;
  readonly target: Operand;
}

class KernelReduction implements BoundReduction {
  readonly #kernels: ReduceKernels;
  readonly #dtype: number;
  readonly #operation: number;
  readonly #pieces: readonly Piece[];

  constructor(kernels: ReduceKernels, dtype: number, operation: number, pieces: readonly Piece[]) {
    this.#kernels = kernels;
    this.#dtype = dtype;
    this.#operation = operation;
    this.#pieces = pieces;
  }

  run(): void {
    for (let index = 0; index < this.#pieces.length; index++) {
      const { left, right, target, bytes } = this.#pieces[index] as Piece;
      if (left.outside !== undefined) left.staged?.set(left.outside);
      if (right.outside !== undefined) right.staged?.set(right.outside);
      this.#kernels.reduceAt(
        this.#dtype,
        this.#operation,
        left.address,
        right.address,
        target.address,
        bytes,
      );
      if (target.outside !== undefined && target.staged !== undefined) target.outside.set(target.staged);
    }
  }
}
