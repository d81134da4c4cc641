import type { Fp8ElementFormat, Fp8Kernels } from '@moestack/kernels';
import { encodeScaleValue, encodeValue } from './encode-exact.js';
import { type EncodePolicy, encodePolicy, type PolicyOptions } from './encode-policy.js';
import { Fp8Error } from './errors.js';
import {
  allocateCodes,
  type Codes,
  checkCodesWidth,
  type Format,
  type FormatSpec,
  formatSpec,
  formats,
} from './format-spec.js';
import { simdKernels } from './simd.js';

/** Options of {@link encode}. */
export interface EncodeOptions extends PolicyOptions {
  /** Uniform numbers in [0, 1) for `stochastic` rounding; seeded by the caller. */
  readonly random?: () => number;
  /** Receives the codes; same length as the values, 8-bit for formats up to 8 bits, else 16-bit. */
  readonly out?: Codes;
}

/**
 * Encodes values to element codes with a single rounding, from float32 or float64.
 *
 * Default: nearest even, saturating; `e8m0fnu` follows the `ml_dtypes` preset.
 *
 * @returns one code per value, `options.out` when given.
 * @throws {@link Fp8Error} before anything is written.
 *
 * @example
 * ```ts
 * import { encode } from '@moestack/fp8';
 *
 * const codes = encode('e4m3fn', Float32Array.of(1, 1000, -0.3)); // 0x38, 0x7e (448), 0xaa (-0.3125)
 * encode('e5m2', Float64Array.of(1e9), { overflow: 'nonSaturating', out: codes.subarray(0, 1) }); // infinity
 * ```
 */
export function encode(
  format: Format,
  values: Float32Array | Float64Array,
  options: EncodeOptions = {},
): Codes {
  const spec = formatSpec(format);
  const policy = encodePolicy(spec, options);
  const out = options.out ?? allocateCodes(spec, values.length);
  checkCodesWidth(spec, out, 'out');
  if (out.length !== values.length) {
    throw new Fp8Error({
      code: 'fp8/bad-out',
      message: `expected out of length ${values.length}, got ${out.length}`,
      value: out.length,
      remedy: 'pass an out array with one code per value',
    });
  }
  const { random } = options;
  if (policy.rounding === 'stochastic' && random === undefined) {
    throw new Fp8Error({
      code: 'fp8/no-random',
      message: 'stochastic rounding needs a random source, got none',
      remedy: 'pass random, a seeded function with values in [0, 1)',
    });
  }
  if (!(values instanceof Float32Array) && !(values instanceof Float64Array)) {
    throw new Fp8Error({
      code: 'fp8/bad-values',
      message: 'expected values as Float32Array or Float64Array',
      value: Object.prototype.toString.call(values),
      remedy: 'convert the values first',
    });
  }
  if (values instanceof Float32Array && hasFastPath(spec, policy)) {
    const kernels = values.length < SIMD_LEAST_LENGTH ? undefined : simdEncoder(spec, policy);
    if (kernels === undefined) encodeFloat32Nearest(spec, policy, values, out);
    else kernels.encode(spec.name as Fp8ElementFormat, values, out as Uint8Array);
  } else {
    const encodeOne = spec.special === 'scale' ? encodeScaleValue : encodeValue;
    const highWord = highWords(values);
    const { stride, first, words } = highWord;
    for (let i = 0; i < values.length; i++) {
      const negative = words[i * stride + first]! >>> 31 === 1;
      out[i] = encodeOne(spec, policy, values[i]!, negative, random);
    }
  }
  return out;
}

/** Below this many values staging costs more than it saves. */
const SIMD_LEAST_LENGTH = 256;

/** The kernels, where the format and policy are theirs: saturating E4M3 or E5M2, NaN quiet with its sign. */
export function simdEncoder(spec: FormatSpec, policy: EncodePolicy): Fp8Kernels | undefined {
  if (spec !== formats.e4m3fn && spec !== formats.e5m2) return undefined;
  const { signBit, maxCode } = spec;
  const nan = spec === formats.e4m3fn ? 0x7f : 0x7e;
  const isTheirs =
    policy.overflowPositive === maxCode &&
    policy.overflowNegative === (maxCode | signBit) &&
    policy.nanPositive === nan &&
    policy.nanNegative === (nan | signBit);
  return isTheirs ? simdKernels() : undefined;
}

/** The words that hold the sign bits: NaN signs are visible nowhere else. */
function highWords(values: Float32Array | Float64Array): {
  words: Uint32Array;
  stride: number;
  first: number;
} {
  const stride = values.BYTES_PER_ELEMENT / 4;
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length * stride);
  return { words, stride, first: stride - 1 };
}

function hasFastPath(spec: FormatSpec, policy: EncodePolicy): boolean {
  // Rebasing the exponent needs a bias that float32 covers; even codes show in the last kept mantissa bit.
  const rebases = spec.bias <= 127 && spec.mantissaBits > 0;
  return policy.rounding === 'nearestEven' && spec.special !== 'scale' && rebases;
}

/**
 * Nearest-even encoding by integer arithmetic on float32 bits; same result as the exact encoder.
 *
 * Normals: add half a unit (minus one if even) below the kept mantissa bits, shift, rebase the exponent.
 * Subnormals: |x| in units of the smallest subnormal, exact in a double, rounded by adding 2^52.
 */
export function encodeFloat32Nearest(
  spec: FormatSpec,
  policy: EncodePolicy,
  values: Float32Array,
  out: Codes,
): void {
  const { mantissaBits, bias, maxCode, signBit, special } = spec;
  const { overflowPositive, overflowNegative, nanPositive, nanNegative } = policy;
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const shift = 23 - mantissaBits;
  const half = 2 ** (shift - 1) - 1;
  const rebase = (127 - bias) << mantissaBits;
  const minNormalWord = (128 - bias) << 23;
  const perSubnormal = 2 ** (bias - 1 + mantissaBits);
  const signShift = 31 - mantissaBits - spec.exponentBits;
  const zeroMask = special === 'fnuz' ? 0 : signBit;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    // Signs are as good as random: no branch on them.
    const sign = (word >>> signShift) & signBit;
    const magnitude = word & 0x7fffffff;
    let code: number;
    if (magnitude >= minNormalWord) {
      if (magnitude > 0x7f800000) {
        out[i] = sign === 0 ? nanPositive : nanNegative;
        continue;
      }
      code = ((magnitude + half + ((magnitude >>> shift) & 1)) >>> shift) - rebase;
      if (code > maxCode) {
        out[i] = sign === 0 ? overflowPositive : overflowNegative;
        continue;
      }
    } else {
      code = (Math.abs(values[i]!) * perSubnormal + 4503599627370496 - 4503599627370496) | 0;
      if (code === 0) {
        out[i] = sign & zeroMask;
        continue;
      }
    }
    out[i] = code | sign;
  }
}
