import type { Arena } from './arena.js';
import { instantiate, type KernelExports } from './binary.js';

/**
 * Sums of rows in float32 with SIMD, for rows that live in other memory: copy a row into `row`, then add it. The order of additions is the
 * caller's; nothing is allocated after construction.
 *
 * @example
 * ```ts
 * import { Arena, RowSumKernels } from '@moestack/kernels';
 *
 * const sums = new RowSumKernels(Arena.create({ maximumBytes: 1 << 16 }));
 * const sum = sums.open(4);
 * sum.f32.set([1, 2, 3, 4]);
 * sum.addScaledF32(0.5);
 * console.log(sum.values); // 0.5, 1, 1.5, 2
 * ```
 */
export class RowSumKernels {
  readonly #arena: Arena;
  readonly #wasm: KernelExports;

  /** @param arena - from which each {@link RowSumKernels.open} takes 8 bytes for each element. */
  constructor(arena: Arena) {
    this.#arena = arena;
    this.#wasm = instantiate(arena.memory, arena.shared);
  }

  /** Bytes of arena for `count` sums of `n` elements. */
  static bytesFor(n: number, count: number): number {
    return count * (2 * Math.ceil(n / 16) * 64) + 4096;
  }

  /** A sum of rows of `n` elements, with its own place for the next row. */
  open(n: number): RowSumKernel {
    return new RowSumKernel(this.#wasm, this.#arena.f32(n), this.#arena.f32(n));
  }
}

/** One sum of {@link RowSumKernels}. */
export class RowSumKernel {
  /** The sum so far; write it freely between calls. */
  readonly values: Float32Array;
  /** Where the next row goes, as bytes, words, float32 values or bfloat16 codes; also where `packBf16` leaves its codes. */
  readonly row: Uint8Array;
  readonly words: Int32Array;
  readonly f32: Float32Array;
  readonly bf16: Uint16Array;
  readonly #wasm: KernelExports;
  readonly #sumAddress: number;
  readonly #rowAddress: number;
  readonly #n: number;

  /** @internal */
  constructor(wasm: KernelExports, values: Float32Array, row: Float32Array) {
    this.#wasm = wasm;
    this.#n = values.length;
    this.values = values;
    this.f32 = row;
    this.row = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
    this.words = new Int32Array(row.buffer, row.byteOffset, row.length);
    this.bf16 = new Uint16Array(row.buffer, row.byteOffset, row.length);
    this.#sumAddress = values.byteOffset;
    this.#rowAddress = row.byteOffset;
  }

  /** values += row as float32. */
  addF32(): void {
    this.#wasm.add(this.#sumAddress, this.#rowAddress, this.#sumAddress, this.#n);
  }

  /** values += weight * row as float32; product and sum are rounded. */
  addScaledF32(weight: number): void {
    this.#wasm.addScaled(this.#rowAddress, weight, this.#sumAddress, this.#n);
  }

  /** values += row as bfloat16 codes. */
  addBf16(): void {
    this.#wasm.addRowBf16(this.#rowAddress, this.#sumAddress, this.#n);
  }

  /** values += weight * row as bfloat16 codes; product and sum are rounded. */
  addScaledBf16(weight: number): void {
    this.#wasm.addScaledRowBf16(this.#rowAddress, weight, this.#sumAddress, this.#n);
  }

  /** Leaves the sum in `bf16`, ties to even; NaN becomes 0x7fc0. */
  packBf16(): void {
    this.#wasm.packBf16(this.#sumAddress, this.#rowAddress, this.#n);
  }
}
