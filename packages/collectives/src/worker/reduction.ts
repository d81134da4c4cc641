import { ReduceKernels } from '@moestack/kernels';
import type { Dtype, Reduction } from '../communicator/dtype.js';
import type { BoundReduction } from '../communicator/transport.js';
import { BOUNCE_BYTES, type WorkerRank } from './rank.js';

/** target = left ⊕ right by SIMD kernels; operands outside the shared memory pass through it piece by piece. */
export class KernelReduction implements BoundReduction {
  readonly #rank: WorkerRank;
  readonly #dtype: number;
  readonly #operation: number;
  readonly #target: Uint8Array;
  readonly #left: Uint8Array;
  readonly #targetAddress: number;
  readonly #leftAddress: number;
  readonly #right: Uint8Array | undefined;
  readonly #rightAddress: number;
  readonly #inPlace: boolean;

  /** `right` is undefined where {@link KernelReduction.runWith} gives its address. */
  constructor(
    rank: WorkerRank,
    dtype: Exclude<Dtype, 'u8'>,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right?: Uint8Array,
  ) {
    this.#rank = rank;
    this.#dtype = ReduceKernels.dtypeCode(dtype);
    this.#operation = ReduceKernels.operationCode(reduction);
    this.#target = target;
    this.#left = left;
    this.#right = right;
    this.#targetAddress = rank.addressOf(target);
    this.#leftAddress = rank.addressOf(left);
    this.#rightAddress = right === undefined ? -1 : rank.addressOf(right);
    this.#inPlace =
      this.#targetAddress >= 0 && this.#leftAddress >= 0 && (right === undefined || this.#rightAddress >= 0);
  }

  run(): void {
    this.runWith(this.#rightAddress, this.#target.byteLength);
  }

  /** Reduces the first `bytes` bytes with what lies at `rightAddress` of the shared memory. */
  runWith(rightAddress: number, bytes: number): void {
    if (this.#inPlace) {
      this.#rank.kernels.reduceAt(
        this.#dtype,
        this.#operation,
        this.#leftAddress,
        rightAddress,
        this.#targetAddress,
        bytes,
      );
    } else {
      this.#bounced(rightAddress, bytes);
    }
  }

  #bounced(rightAddress: number, bytes: number): void {
    const rank = this.#rank;
    const shared = rank.bytes;
    const bounce = rank.bounce();
    for (let at = 0; at < bytes; at += BOUNCE_BYTES) {
      const end = Math.min(at + BOUNCE_BYTES, bytes);
      let left = this.#leftAddress + at;
      if (this.#leftAddress < 0) {
        left = bounce;
        shared.set(this.#left.subarray(at, end), left);
      }
      let right = rightAddress + at;
      if (rightAddress < 0) {
        right = bounce + BOUNCE_BYTES;
        shared.set((this.#right as Uint8Array).subarray(at, end), right);
      }
      const target = this.#targetAddress < 0 ? bounce + 2 * BOUNCE_BYTES : this.#targetAddress + at;
      rank.kernels.reduceAt(this.#dtype, this.#operation, left, right, target, end - at);
      if (this.#targetAddress < 0) this.#target.set(shared.subarray(target, target + end - at), at);
    }
  }
}

/** A copy within the shared memory, by the engine's block copy. */
export class KernelCopy implements BoundReduction {
  readonly #rank: WorkerRank;
  readonly #from: number;
  readonly #to: number;
  readonly #bytes: number;

  constructor(rank: WorkerRank, from: number, to: number, bytes: number) {
    this.#rank = rank;
    this.#from = from;
    this.#to = to;
    this.#bytes = bytes;
  }

  run(): void {
    this.#rank.kernels.copyAt(this.#from, this.#to, this.#bytes);
  }
}
