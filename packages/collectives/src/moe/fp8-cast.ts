import { bf16Values } from './bf16.js';
import type { Fp8ScaleMode } from './config.js';
import { SCALE_BLOCK } from './config.js';

const AMAX_FLOOR: number = Math.fround(1e-4);
const E4M3_MAX = 448;
const INVERSE_MAX: number = Math.fround(1 / E4M3_MAX);
const E4M3_NAN = 0x7f;

/**
 * Casts rows to FP8 E4M3 as low-latency dispatch does (DeepEP's `per_token_cast_to_fp8` and its kernel): for each tile of 128
 * channels amax = max(1e-4, max|x|), ties to even, saturating.
 *
 * `f32`: scale = f32(amax * f32(1/448)), code = e4m3(f32(x * f32(448/amax))). `powerOfTwo` and `ue8m0`: scale = that rounded up
 * to a power of two, code = e4m3(x / scale). Scratch of its own, no allocation after construction.
 */
export class Fp8Caster {
  readonly #powerOfTwo: boolean;
  readonly #hidden: number;
  readonly #row: Float32Array;
  readonly #rowBits: Uint32Array;
  readonly #scalar = new Float32Array(1);
  readonly #scalarBits: Uint32Array = new Uint32Array(this.#scalar.buffer);

  constructor(hidden: number, scale: Fp8ScaleMode) {
    this.#hidden = hidden;
    this.#powerOfTwo = scale !== 'f32';
    this.#row = new Float32Array(hidden);
    this.#rowBits = new Uint32Array(this.#row.buffer);
  }

  /** Casts a bfloat16 row: codes at `codeStart`, one float32 scale for each tile at `scaleStart`. */
  castBf16(
    x: Uint16Array,
    start: number,
    codes: Uint8Array,
    codeStart: number,
    scales: Float32Array,
    scaleStart: number,
  ): void {
    const table = bf16Values();
    const row = this.#row;
    for (let i = 0; i < row.length; i++) row[i] = table[x[start + i]!]!;
    this.#cast(codes, codeStart, scales, scaleStart);
  }

  /** Casts a float32 row. */
  castF32(
    x: Float32Array,
    start: number,
    codes: Uint8Array,
    codeStart: number,
    scales: Float32Array,
    scaleStart: number,
  ): void {
    const row = this.#row;
    for (let i = 0; i < row.length; i++) row[i] = x[start + i]!;
    this.#cast(codes, codeStart, scales, scaleStart);
  }

  #cast(codes: Uint8Array, codeStart: number, scales: Float32Array, scaleStart: number): void {
    const row = this.#row;
    const bits = this.#rowBits;
    for (let tile = 0; tile * SCALE_BLOCK < this.#hidden; tile++) {
      const first = tile * SCALE_BLOCK;
      let amax = AMAX_FLOOR;
      for (let i = first; i < first + SCALE_BLOCK; i++) {
        const magnitude = Math.abs(row[i]!);
        if (magnitude > amax) amax = magnitude;
      }
      let scale = Math.fround(amax * INVERSE_MAX);
      let factor = Math.fround(E4M3_MAX / amax);
      if (this.#powerOfTwo) {
        scale = this.#ceilPowerOfTwo(scale);
        factor = 1 / scale;
      }
      scales[scaleStart + tile] = scale;
      for (let i = first; i < first + SCALE_BLOCK; i++) row[i] = row[i]! * factor;
      encodeE4m3Bits(bits, first, SCALE_BLOCK, codes, codeStart + first);
    }
  }

  /** Smallest power of two >= a positive normal float32, by exponent bits. */
  #ceilPowerOfTwo(value: number): number {
    this.#scalar[0] = value;
    const word = this.#scalarBits[0]!;
    this.#scalarBits[0] = ((word >>> 23) + ((word & 0x7fffff) === 0 ? 0 : 1)) << 23;
    return this.#scalar[0]!;
  }
}

/** E4M3 codes of float32 bits: ties to even, saturating at 448 (infinity too), NaN becomes 0x7f with its sign. */
function encodeE4m3Bits(
  bits: Uint32Array,
  start: number,
  length: number,
  out: Uint8Array,
  outStart: number,
): void {
  for (let i = 0; i < length; i++) {
    const word = bits[start + i]!;
    const magnitude = word & 0x7fffffff;
    let code: number;
    if (magnitude > 0x7f800000) code = E4M3_NAN;
    else if (magnitude >= 0x43e00000) code = 0x7e;
    else if (magnitude >= 0x3c800000) {
      // From 2^-6: round the mantissa to 3 bits and rebias the exponent from 127 to 7.
      code = ((magnitude + 0x7ffff + ((magnitude >>> 20) & 1)) >>> 20) - (120 << 3);
    } else if (magnitude <= 0x3a800000) code = 0;
    else {
      // Below 2^-6 codes count steps of 2^-9.
      const shift = 141 - (magnitude >>> 23);
      const mantissa = (magnitude & 0x7fffff) | 0x800000;
      const floor = mantissa >>> shift;
      const rest = mantissa & ((1 << shift) - 1);
      const half = 1 << (shift - 1);
      code = rest > half || (rest === half && (floor & 1) === 1) ? floor + 1 : floor;
    }
    out[outStart + i] = code | ((word >>> 24) & 0x80);
  }
}
