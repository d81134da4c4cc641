import type { WeightData } from '../types.js';

const bitsF32 = new Float32Array(1);
const bitsU32 = new Uint32Array(bitsF32.buffer);

/** Value of an E4M3 code (bias 7, no infinity, NaN 0x7f and 0xff; OCP 8-bit floating point specification, table 1). */
export function decodeE4m3(code: number): number {
  const magnitude = code & 0x7f;
  if (magnitude === 0x7f) return Number.NaN;
  const exponent = magnitude >> 3;
  const mantissa = magnitude & 7;
  const value = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 0x80 ? -value : value;
}

/** Nearest E4M3 code, ties to even, saturating at 448 (infinity too); NaN keeps its sign. */
export function encodeE4m3(value: number): number {
  const x = Math.fround(value);
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0;
  if (Number.isNaN(x)) return 0x7f;
  const a = Math.min(Math.abs(x), 448);
  bitsF32[0] = a;
  const bits = bitsU32[0]!;
  // Below the smallest normal 2^-6 codes count steps of 2^-9; above, rounding happens in the float32 bits.
  if (a < 2 ** -6) {
    const steps = a * 512;
    const floor = Math.floor(steps);
    const rest = steps - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && (floor & 1) === 1) ? floor + 1 : floor);
  }
  const rounded = bits + 0x7ffff + ((bits >>> 20) & 1);
  return sign | ((rounded >>> 20) - (120 << 3));
}

/** Rounds to bfloat16 precision, ties to even; NaN stays NaN. */
export function roundBf16(value: number): number {
  bitsF32[0] = value;
  const bits = bitsU32[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return Number.NaN;
  bitsU32[0] = (bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000;
  return bitsF32[0]!;
}

/** Value of bfloat16 bits. */
export function decodeBf16(bits: number): number {
  bitsU32[0] = bits << 16;
  return bitsF32[0]!;
}

/** Smallest power of two that is >= a positive float32, from its exponent bits (biased exponent clamped to 1..254). */
export function ceilPowerOfTwo(value: number): number {
  bitsF32[0] = value;
  const bits = bitsU32[0]!;
  const exponent = (bits >>> 23) + ((bits & 0x7fffff) === 0 ? 0 : 1);
  bitsU32[0] = Math.min(Math.max(exponent, 1), 254) << 23;
  return bitsF32[0]!;
}

/** Element value of a weight without its block scale. */
export function weightCode(weight: WeightData, index: number): number {
  const raw = weight.data[index]!;
  return weight.format === 'f32' ? raw : weight.format === 'bf16' ? decodeBf16(raw) : decodeE4m3(raw);
}

/** Block scale of the element at (row, col); 1 where there is none. */
export function weightScale(weight: WeightData, row: number, col: number): number {
  if (weight.scales === undefined) return 1;
  return weight.scales[(row >> 7) * Math.ceil(weight.cols / 128) + (col >> 7)]!;
}
