import type { Fp8ElementFormat } from '@moestack/kernels';
import { Fp8Error } from './errors.js';
import {
  type Codes,
  checkCodesWidth,
  type Format,
  type FormatSpec,
  formatSpec,
  formats,
} from './format-spec.js';
import { simdKernels } from './simd.js';

const tables = new WeakMap<FormatSpec, Float32Array>();

/**
 * Values of every code of a format, index = code: a shared table, not to be written to.
 *
 * @returns float32 `[2^bits]`.
 */
export function decodeTable(format: Format): Float32Array {
  const spec = formatSpec(format);
  let table = tables.get(spec);
  if (table === undefined) {
    table = new Float32Array(2 ** spec.bits);
    for (let code = 0; code < table.length; code++) table[code] = decodeCode(spec, code);
    tables.set(spec, table);
  }
  return table;
}

/** Value of one code; every finite code of a format is exact in float32. */
function decodeCode(spec: FormatSpec, code: number): number {
  const { mantissaBits, bias, special, signBit } = spec;
  if (special === 'scale') return code > spec.maxCode ? Number.NaN : 2 ** (code - bias);
  const negative = (code & signBit) !== 0;
  const magnitude = code & (signBit - 1);
  if (special === 'fnuz' && negative && magnitude === 0) return Number.NaN;
  const sign = negative ? -1 : 1;
  if (magnitude > spec.maxCode) {
    const isInfinity = special === 'ieee' && magnitude === spec.maxCode + 1;
    return isInfinity ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  }
  const field = magnitude >>> mantissaBits;
  const fraction = (magnitude & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  return sign * (field === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (field - bias));
}

/** Below this many codes staging costs more than it saves. */
const SIMD_LEAST_LENGTH = 256;

/** Options of {@link decode}. */
export interface DecodeOptions {
  /** Receives the values; same length as `codes`. */
  readonly out?: Float32Array;
}

/**
 * Decodes element codes to float32, exactly.
 *
 * @param codes - one code per element; 16-bit storage for formats wider than 8 bits.
 * @returns float32 values, `options.out` when given.
 * @throws {@link Fp8Error} for a code that the format does not have, or arrays of the wrong width or length.
 *
 * @example
 * ```ts
 * import { decode } from '@moestack/fp8';
 *
 * console.log(decode('e4m3fn', Uint8Array.of(0x7e, 0x01))); // 448, 2^-9
 * ```
 */
export function decode(format: Format, codes: Codes, options: DecodeOptions = {}): Float32Array {
  const spec = formatSpec(format);
  checkCodesWidth(spec, codes, 'codes');
  checkCodesRange(spec, codes);
  const out = options.out ?? new Float32Array(codes.length);
  if (out.length !== codes.length) {
    throw new Fp8Error({
      code: 'fp8/bad-out',
      message: `expected out of length ${codes.length}, got ${out.length}`,
      value: out.length,
      remedy: 'pass an out array with one value per code',
    });
  }
  const isKernelFormat = spec === formats.e4m3fn || spec === formats.e5m2;
  const kernels = isKernelFormat && codes.length >= SIMD_LEAST_LENGTH ? simdKernels() : undefined;
  if (kernels !== undefined) {
    kernels.decode(spec.name as Fp8ElementFormat, codes as Uint8Array, out);
    return out;
  }
  const table = decodeTable(spec);
  // As integers: engines convert float32 elements to double and back on the way.
  lookUp(codes, wordsOf(table), wordsOf(out));
  return out;
}

function wordsOf(values: Float32Array): Int32Array {
  return new Int32Array(values.buffer, values.byteOffset, values.length);
}

function lookUp(codes: Codes, table: Int32Array, out: Int32Array): void {
  const whole = codes.length - (codes.length % 4);
  for (let i = 0; i < whole; i += 4) {
    out[i] = table[codes[i]!]!;
    out[i + 1] = table[codes[i + 1]!]!;
    out[i + 2] = table[codes[i + 2]!]!;
    out[i + 3] = table[codes[i + 3]!]!;
  }
  for (let i = whole; i < codes.length; i++) out[i] = table[codes[i]!]!;
}

/** Rejects codes that use bits beyond the format's width. */
export function checkCodesRange(spec: FormatSpec, codes: Codes): void {
  if (spec.bits === 8 || spec.bits === 16) return;
  let union = 0;
  for (let i = 0; i < codes.length; i++) union |= codes[i]!;
  if (union >>> spec.bits === 0) return;
  const index = codes.findIndex((code) => code >>> spec.bits !== 0);
  throw new Fp8Error({
    code: 'fp8/bad-codes',
    message: `expected ${spec.bits}-bit codes of ${spec.name}, got ${codes[index]} at index ${index}`,
    value: codes[index],
    remedy: 'unpack sub-byte formats to one code per element first',
  });
}
