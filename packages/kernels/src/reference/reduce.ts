import { roundBf16 } from './formats.js';

const bitsF32 = new Float32Array(1);
const bitsU32 = new Uint32Array(bitsF32.buffer);

/** Element types that {@link reduce} knows; bf16 and f16 are codes in a Uint16Array. */
export type ReduceDtype = 'f32' | 'bf16' | 'f16' | 'i32';
/** How {@link reduce} joins two elements. */
export type ReduceOperation = 'sum' | 'max' | 'min';

/** Value of binary16 bits. */
export function decodeF16(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 0x3ff;
  const magnitude =
    exponent === 31
      ? mantissa === 0
        ? Infinity
        : Number.NaN
      : exponent === 0
        ? mantissa * 2 ** -24
        : (1024 + mantissa) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

/** binary16 bits of a float32, ties to even, overflow to infinity; every NaN becomes 0x7e00. */
export function encodeF16(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const a = Math.abs(value);
  if (a >= 65520) return sign | 0x7c00;
  // Codes count steps of 2^(exponent - 10); rounding up into the next exponent carries by itself.
  const exponent = a < 2 ** -14 ? -14 : Math.floor(Math.log2(a));
  const steps = a / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && (floor & 1) === 1) ? floor + 1 : floor;
  return sign | (rounded + (exponent + 14) * 1024);
}

/** bfloat16 bits of a float32, ties to even; every NaN becomes 0x7fc0. */
export function encodeBf16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  bitsF32[0] = roundBf16(value);
  return bitsU32[0]! >>> 16;
}

function decodeBf16(bits: number): number {
  bitsU32[0] = bits << 16;
  return bitsF32[0]!;
}

function combine(operation: ReduceOperation, a: number, b: number): number {
  return operation === 'sum' ? Math.fround(a + b) : operation === 'max' ? Math.max(a, b) : Math.min(a, b);
}

/**
 * out = a op b. 16-bit floats are widened to float32, joined there and rounded once, ties to even; i32 sums wrap. As with
 * `Math.max`, NaN wins and -0 < 0. NaN results are canonical: 0x7fc00000, 0x7fc0, 0x7e00.
 */
export function reduce(
  dtype: ReduceDtype,
  operation: ReduceOperation,
  a: Float32Array | Uint16Array | Int32Array,
  b: Float32Array | Uint16Array | Int32Array,
  out: Float32Array | Uint16Array | Int32Array,
  n: number,
): void {
  const outBits = dtype === 'f32' ? new Uint32Array(out.buffer, out.byteOffset, n) : out;
  for (let i = 0; i < n; i++) {
    const x = a[i]!;
    const y = b[i]!;
    if (dtype === 'i32') {
      out[i] = operation === 'sum' ? (x + y) | 0 : combine(operation, x, y);
    } else if (dtype === 'f32') {
      const value = combine(operation, x, y);
      out[i] = value;
      if (Number.isNaN(value)) outBits[i] = 0x7fc00000;
    } else if (dtype === 'bf16') {
      out[i] = encodeBf16(combine(operation, decodeBf16(x), decodeBf16(y)));
    } else {
      out[i] = encodeF16(combine(operation, decodeF16(x), decodeF16(y)));
    }
  }
}

/** bfloat16 codes of floats. */
export function packBf16(x: Float32Array, out: Uint16Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = encodeBf16(x[i]!);
}

/** Floats of bfloat16 codes, bits unchanged. */
export function unpackBf16(x: Uint16Array, out: Float32Array, n: number): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, n);
  for (let i = 0; i < n; i++) bits[i] = x[i]! << 16;
}
