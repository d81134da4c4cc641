import { decodeTable } from './decode.js';
import { encodeValue } from './encode-exact.js';
import { encodePolicy } from './encode-policy.js';
import { floorLog2, powerOfTwo } from './exponent.js';
import { type FormatName, formats } from './format-spec.js';
import { invalid } from './scheme.js';

/** NVIDIA tensor-core generation whose FP8 accumulation is emulated. */
export type Architecture = 'hopper' | 'ada' | 'blackwell' | 'rtx-blackwell';

/**
 * Accumulation of one generation, by the model of MMA-Sim (microsoft/MMA-Sim, commit c785138).
 *
 * One fused step adds `fused` products and the accumulator: all terms are truncated toward zero to a multiple of
 * 2^(E - alignBits), E being the largest exponent among them, then added exactly; a float32 result is truncated to
 * `outputBits` fraction bits, a float16 result rounded to nearest even.
 */
export interface TensorCore {
  readonly fused: number;
  readonly alignBits: number;
  readonly outputBits: number;
  readonly hasBlockScales: boolean;
}

/** Parameters by {@link Architecture}: wgmma, mma.m16n8k32 (two halves of 16), tcgen05 and mma of SM120. */
const tensorCores: { readonly [A in Architecture]: TensorCore } = Object.freeze({
  hopper: { fused: 32, alignBits: 13, outputBits: 13, hasBlockScales: false },
  ada: { fused: 16, alignBits: 13, outputBits: 13, hasBlockScales: false },
  blackwell: { fused: 32, alignBits: 25, outputBits: 23, hasBlockScales: true },
  'rtx-blackwell': { fused: 32, alignBits: 25, outputBits: 23, hasBlockScales: true },
});

/** The parameters of `architecture`; an unknown name is an error. */
export function tensorCore(architecture: Architecture): TensorCore {
  if (Object.hasOwn(tensorCores, architecture)) return tensorCores[architecture];
  const known = Object.keys(tensorCores).join(', ');
  throw invalid('unknown-architecture', `architecture as ${known}`, architecture, 'choose one of them');
}

/** Products carry 3 + 3 fraction bits: e4m3 significands have 3, e5m2 ones are widened to 3. */
const PRODUCT_BITS = 6;
/** Exponent of a zero operand in MMA-Sim's alignment. */
const ZERO_EXPONENT = -126;
const MIN_EXPONENT_F32 = -126;
const MIN_EXPONENT_F16 = -14;
const INFINITE_F32 = 2 ** 128;

const f16Policy = encodePolicy(formats.f16, { overflow: 'nonSaturating' });

/** Operand rows taken apart once, so that dot products run on integers. */
export interface UnpackedOperand {
  /** Signed significands times 8, row-major `[rows, k]`. */
  readonly significands: Int32Array;
  readonly exponents: Int32Array;
  /** Decoded values, for steps that contain NaN or infinity. */
  readonly values: Float32Array;
  /** Per row: 1 when it contains NaN or infinity. */
  readonly special: Uint8Array;
}

/** Checks that tensor cores of this emulation take `format`. */
export function checkOperandFormat(format: string): void {
  if (format === 'e4m3fn' || format === 'e5m2') return;
  throw invalid(
    'bad-format',
    'operands of e4m3fn or e5m2',
    format,
    'the model covers these two formats only',
  );
}

/** Exponent in MMA-Sim's sense of each code of a format, minimum for subnormals; -110 for zero, NaN and infinity. */
export function operandExponents(format: 'e4m3fn' | 'e5m2'): Int8Array {
  return format === 'e4m3fn' ? e4m3Exponents : e5m2Exponents;
}

function exponentsOf(format: 'e4m3fn' | 'e5m2'): Int8Array {
  const { bias, mantissaBits, maxCode } = formats[format];
  return Int8Array.from({ length: 256 }, (_, code) => {
    const magnitude = code & 0x7f;
    // A zero counts as -126 in truth; the kernels add two of these within 8 bits and tell the cases apart.
    return magnitude === 0 || magnitude > maxCode ? -110 : Math.max(magnitude >>> mantissaBits, 1) - bias;
  });
}

const e4m3Exponents = exponentsOf('e4m3fn');
const e5m2Exponents = exponentsOf('e5m2');

/** Takes codes `[rows, k]` apart. */
export function unpackOperand(
  format: FormatName,
  codes: Uint8Array,
  rows: number,
  k: number,
): UnpackedOperand {
  const { bias, mantissaBits } = formats[format];
  const table = decodeTable(format);
  const significandOf = new Int32Array(256);
  const exponentOf = new Int32Array(256);
  for (let code = 0; code < 256; code++) {
    const value = table[code]!;
    if (value === 0 || !Number.isFinite(value)) {
      exponentOf[code] = ZERO_EXPONENT;
      continue;
    }
    const field = (code & 0x7f) >>> mantissaBits;
    const exponent = Math.max(field, 1) - bias;
    exponentOf[code] = exponent;
    significandOf[code] = value * 2 ** (3 - exponent);
  }
  const significands = new Int32Array(rows * k);
  const exponents = new Int32Array(rows * k);
  const values = new Float32Array(rows * k);
  const special = new Uint8Array(rows);
  for (let i = 0; i < significands.length; i++) {
    const code = codes[i]!;
    significands[i] = significandOf[code]!;
    exponents[i] = exponentOf[code]!;
    values[i] = table[code]!;
    // A finite value minus itself is 0, anything else NaN.
    if (values[i]! - values[i]! !== 0) special[Math.floor(i / k)] = 1;
  }
  return { significands, exponents, values, special };
}

/** What a chain of fused steps works on. */
export interface DotChain {
  readonly core: TensorCore;
  readonly output: 'f32' | 'f16';
  readonly a: UnpackedOperand;
  readonly b: UnpackedOperand;
  /** Length of a row of `a` and `b`. */
  readonly k: number;
  /** E8M0 codes per 32 of k, row-major; both or none. */
  readonly aScales?: Uint8Array | undefined;
  readonly bScales?: Uint8Array | undefined;
}

/**
 * Accumulator after chaining a[row, from..to) . b[col, from..to) onto `accumulator`.
 *
 * @param accumulator - float32, or float16 value for `f16` output.
 */
export function chainDot(
  chain: DotChain,
  row: number,
  col: number,
  from: number,
  to: number,
  accumulator: number,
): number {
  const { core, output, a, b, k, aScales, bScales } = chain;
  const { fused, alignBits, outputBits } = core;
  const widen = alignBits - PRODUCT_BITS;
  const hasSpecial = a.special[row]! + b.special[col]! !== 0;
  const aExponents = a.exponents;
  const bExponents = b.exponents;
  const aSignificands = a.significands;
  const bSignificands = b.significands;
  const minExponent = output === 'f16' ? MIN_EXPONENT_F16 : MIN_EXPONENT_F32;
  const blocks = Math.ceil(k / 32);
  let c = accumulator;
  for (let start = from; start < to; start += fused) {
    const end = Math.min(start + fused, to);
    const i0 = row * k;
    const j0 = col * k;
    let scale = 0;
    let scaleNaN = false;
    if (aScales !== undefined && bScales !== undefined) {
      const scaleA = aScales[row * blocks + (start >>> 5)]!;
      const scaleB = bScales[col * blocks + (start >>> 5)]!;
      scaleNaN = scaleA === 255 || scaleB === 255;
      scale = scaleA + scaleB - 254;
    }
    if (hasSpecial || scaleNaN || !Number.isFinite(c)) {
      const outcome = scaleNaN ? Number.NaN : specialSum(a.values, b.values, i0, j0, start, end, c);
      if (!Number.isFinite(outcome)) {
        c = outcome;
        continue;
      }
    }
    let maxExponent = -512;
    for (let p = start; p < end; p++) {
      const exponent = aExponents[i0 + p]! + bExponents[j0 + p]!;
      if (exponent > maxExponent) maxExponent = exponent;
    }
    maxExponent += scale;
    const cExponent = c === 0 ? ZERO_EXPONENT : Math.max(floorLog2(c), minExponent);
    if (cExponent > maxExponent) maxExponent = cExponent;
    const base = maxExponent - scale;
    // Two int32 sums of at most 16 terms below 2^27 each.
    const middle = Math.min(start + 16, end);
    let low = 0;
    for (let p = start; p < middle; p++) {
      const i = i0 + p;
      const j = j0 + p;
      const distance = base - aExponents[i]! - bExponents[j]!;
      const shift = Math.min(distance, 31);
      const term = (aSignificands[i]! * bSignificands[j]!) << widen;
      // Arithmetic shift rounds down; adding 2^shift - 1 to negative terms makes it truncate toward zero.
      low = (low + ((term + ((term >> 31) & ((1 << shift) - 1))) >> shift)) | 0;
    }
    let high = 0;
    for (let p = middle; p < end; p++) {
      const i = i0 + p;
      const j = j0 + p;
      const distance = base - aExponents[i]! - bExponents[j]!;
      const shift = Math.min(distance, 31);
      const term = (aSignificands[i]! * bSignificands[j]!) << widen;
      high = (high + ((term + ((term >> 31) & ((1 << shift) - 1))) >> shift)) | 0;
    }
    const cTerm = Math.trunc(c * powerOfTwo(alignBits - maxExponent));
    const sum = low + high + cTerm;
    if (sum === 0) c = 0;
    else if (output === 'f16') c = roundToF16(sum * powerOfTwo(maxExponent - alignBits));
    else c = truncateToF32(sum, maxExponent - alignBits, outputBits);
  }
  return c;
}

/** Sum of the step in doubles, of interest only when it is not finite: NaN and infinities propagate by IEEE rules. */
function specialSum(
  aValues: Float32Array,
  bValues: Float32Array,
  i0: number,
  j0: number,
  start: number,
  end: number,
  c: number,
): number {
  let sum = c;
  for (let p = start; p < end; p++) sum += aValues[i0 + p]! * bValues[j0 + p]!;
  return sum;
}

/** `sum` * 2^`exponent` truncated to `bits` fraction bits, subnormal below 2^-126, infinite from 2^128. */
function truncateToF32(sum: number, exponent: number, bits: number): number {
  const lead = Math.max(floorLog2(sum) + exponent, MIN_EXPONENT_F32);
  // + 0 turns -0, which tensor cores do not produce here, into +0.
  const value = Math.trunc(sum * powerOfTwo(exponent - lead + bits)) * powerOfTwo(lead - bits) + 0;
  if (value >= INFINITE_F32) return Number.POSITIVE_INFINITY;
  return value <= -INFINITE_F32 ? Number.NEGATIVE_INFINITY : value;
}

/** Nearest even float16 value, infinite on overflow, never -0. */
export function roundToF16(value: number): number {
  const code = encodeValue(formats.f16, f16Policy, value, value < 0, undefined);
  return decodeTable('f16')[code]! + 0;
}
