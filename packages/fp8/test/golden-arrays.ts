import { readFixture, readFixtureJson } from '@moestack/fixtures';

/** Where an array lies in a golden binary. */
export interface ArrayReference {
  offset: number;
  dtype: 'f32' | 'f64' | 'u8' | 'u16';
  shape: number[];
}

/** One golden case: parameters by name, and arrays. */
export type GoldenCase = Record<string, unknown> & { op: string };

/** Cases of `fp8/quant/quant.json`. */
export const quantCases: GoldenCase[] = readFixtureJson<{ cases: GoldenCase[] }>(
  'fp8/quant/quant.json',
).cases;

const quantBytes = new Uint8Array(readFixture('fp8/quant/quant.bin')).buffer;

/** The float32 array `name` of a quant case; bfloat16 bits are widened. */
export function f32(golden: GoldenCase, name: string): Float32Array {
  const { offset, dtype, shape } = golden[name] as ArrayReference;
  const length = shape.reduce((product, dimension) => product * dimension, 1);
  if (dtype === 'f32') return new Float32Array(quantBytes, offset, length);
  if (dtype === 'f64')
    return Float32Array.from(new Float64Array(quantBytes.slice(offset, offset + length * 8)));
  const words = Uint32Array.from(new Uint16Array(quantBytes, offset, length), (bits) => bits << 16);
  return new Float32Array(words.buffer);
}

/** The array `name` of codes. */
export function u8(golden: GoldenCase, name: string): Uint8Array {
  const { offset, shape } = golden[name] as ArrayReference;
  return new Uint8Array(quantBytes, offset, shape[0]! * shape[1]!);
}

/** The float64 array `name`. */
export function f64(golden: GoldenCase, name: string): Float64Array {
  const { offset, shape } = golden[name] as ArrayReference;
  return new Float64Array(quantBytes.slice(offset, offset + shape[0]! * shape[1]! * 8));
}

/** Bits of float32 values, so that comparison tells -0 from 0. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** float32 to bfloat16 bits, nearest even, for finite values. */
export function bf16Bits(values: Float32Array): Uint16Array {
  return Uint16Array.from(bits(values), (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
}
