import type { BinadeHistogram, ValueStatistics } from '@moestack/schemas';
import { type FormatSpec, formats } from './format-spec.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';

/** Binade of the smallest float32 subnormal, and where its normals begin. */
const FIRST_BINADE = -149;
const FIRST_NORMAL_INDEX = 23;
const BINADES = 277;

const MAGNITUDE = 0x7fffffff;
const INFINITE = 0x7f800000;
const SMALLEST_NORMAL = 0x00800000;

/** Float32 bits of magnitudes that mean something in a stored type of more than 8 bits. */
interface WideLimits {
  /** Smallest normal number. */
  readonly normal: number;
  /** Largest finite number. */
  readonly maximum: number;
}

const WIDE_LIMITS: { readonly [Dtype in SafetensorsDtype]?: WideLimits } = Object.freeze({
  F32: { normal: SMALLEST_NORMAL, maximum: 0x7f7fffff },
  BF16: { normal: SMALLEST_NORMAL, maximum: 0x7f7f0000 },
  F16: { normal: bitsOf(2 ** -14), maximum: bitsOf(formats.f16.max) },
  // As float32, where a double below the float32 range has become zero or subnormal.
  F64: { normal: 0, maximum: INFINITE },
} as const);

/** Whether {@link ValueStatistics} of a dtype come from its values alone, not from codes. */
export function isWideDtype(dtype: SafetensorsDtype): boolean {
  return WIDE_LIMITS[dtype] !== undefined;
}

/** Counts in 2^(first + i), without the zeros at both ends. */
export function trimHistogram(first: number, counts: ArrayLike<number>): BinadeHistogram {
  let start = 0;
  let end = counts.length;
  while (start < end && counts[start] === 0) start++;
  while (end > start && counts[end - 1] === 0) end--;
  return { first: start === end ? 0 : first + start, counts: Array.from(counts).slice(start, end) };
}

/** Collects {@link ValueStatistics} over the pieces of one tensor. */
export class ValueAccumulator {
  /** Sum of squares of the finite values so far. */
  sumOfSquares = 0;
  private readonly limits: WideLimits | undefined;
  private readonly binades = new Float64Array(BINADES);
  /** Counts by exponent field of one piece. */
  private readonly fields = new Uint32Array(256);
  private sum = 0;
  private finite = 0;
  private zeros = 0;
  private nans = 0;
  private infinities = 0;
  private subnormals = 0;
  private atMaximum = 0;
  private largestBits = 0;
  private smallestBits = INFINITE;

  constructor(dtype: SafetensorsDtype) {
    this.limits = WIDE_LIMITS[dtype];
  }

  add(values: Float32Array): void {
    const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
    if (!this.addNormal(values, words)) this.addAny(values, words);
  }

  /** Adds pieces of zeros and normal numbers, as nearly all are; false, and nothing added, for others. */
  private addNormal(values: Float32Array, words: Uint32Array): boolean {
    const fields = this.fields.fill(0);
    const maximum = this.limits?.maximum ?? INFINITE;
    let [sum, sumOfSquares, zeros, atMaximum] = [0, 0, 0, 0];
    let { largestBits, smallestBits } = this;
    for (let i = 0; i < words.length; i++) {
      const bits = words[i]! & MAGNITUDE;
      const value = values[i]!;
      const field = bits >>> 23;
      fields[field] = fields[field]! + 1;
      sum += value;
      sumOfSquares += value * value;
      if (bits > largestBits) largestBits = bits;
      if (bits >= maximum) atMaximum++;
      if (bits < smallestBits) {
        if (bits === 0) zeros++;
        else smallestBits = bits;
      }
    }
    if (fields[255]! > 0 || fields[0] !== zeros) return false;
    const normalField = (this.limits?.normal ?? 0) >>> 23;
    for (let field = 1; field < 255; field++) {
      const at = field + FIRST_NORMAL_INDEX - 1;
      this.binades[at] = this.binades[at]! + fields[field]!;
      // Subnormals of the stored type end where a binade ends.
      if (field < normalField) this.subnormals += fields[field]!;
    }
    this.sum += sum;
    this.sumOfSquares += sumOfSquares;
    this.zeros += zeros;
    this.atMaximum += atMaximum;
    this.finite += words.length;
    this.largestBits = largestBits;
    this.smallestBits = smallestBits;
    return true;
  }

  private addAny(values: Float32Array, words: Uint32Array): void {
    const normal = this.limits?.normal ?? 0;
    const maximum = this.limits?.maximum ?? INFINITE;
    for (let i = 0; i < words.length; i++) {
      const bits = words[i]! & MAGNITUDE;
      if (bits >= INFINITE) {
        if (bits === INFINITE) this.infinities++;
        else this.nans++;
        continue;
      }
      this.finite++;
      if (bits === 0) {
        this.zeros++;
        continue;
      }
      const value = values[i]!;
      this.sum += value;
      this.sumOfSquares += value * value;
      if (bits > this.largestBits) this.largestBits = bits;
      if (bits < this.smallestBits) this.smallestBits = bits;
      if (bits < normal) this.subnormals++;
      if (bits === maximum) this.atMaximum++;
      const at = bits >= SMALLEST_NORMAL ? (bits >>> 23) + FIRST_NORMAL_INDEX - 1 : 31 - Math.clz32(bits);
      this.binades[at] = this.binades[at]! + 1;
    }
  }

  /** @param codes - replaces what only the codes of a narrow type can tell. */
  finish(codes?: { readonly subnormals: number; readonly atMaximum: number }): ValueStatistics {
    const count = Math.max(this.finite, 1);
    return {
      zeros: this.zeros,
      subnormals: codes?.subnormals ?? this.subnormals,
      atMaximum: codes?.atMaximum ?? this.atMaximum,
      nans: this.nans,
      infinities: this.infinities,
      largest: float32Of(this.largestBits),
      smallest: this.smallestBits === INFINITE ? null : float32Of(this.smallestBits),
      mean: this.sum / count,
      rootMeanSquare: Math.sqrt(this.sumOfSquares / count),
      binades: trimHistogram(FIRST_BINADE, this.binades),
    };
  }
}

/** Codes of a format that are subnormal, and that are the largest finite magnitude. */
export function narrowCounts(
  spec: FormatSpec,
  counts: ArrayLike<number>,
): { subnormals: number; atMaximum: number } {
  if (spec.special === 'scale') return { subnormals: 0, atMaximum: counts[spec.maxCode]! };
  let subnormals = 0;
  for (let magnitude = 1; magnitude < 2 ** spec.mantissaBits; magnitude++) {
    subnormals += counts[magnitude]! + counts[magnitude | spec.signBit]!;
  }
  return { subnormals, atMaximum: counts[spec.maxCode]! + counts[spec.maxCode | spec.signBit]! };
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

function float32Of(bits: number): number {
  return new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}
