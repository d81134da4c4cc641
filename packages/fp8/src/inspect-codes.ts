import type { CodeStatistics } from '@moestack/schemas';
import type { ScaleLayout } from './checkpoint-scales.js';
import { decodeTable } from './decode.js';
import { type FormatSpec, formats } from './format-spec.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';
import { dtypeFormats } from './stored-values.js';

/** Element format of a dtype of at most 8 bits an element that has a float32 form. */
export function narrowFormat(dtype: SafetensorsDtype): FormatSpec | undefined {
  if (dtype === 'F4') return formats.e2m1fn;
  const name = dtypeFormats[dtype];
  return name === undefined || formats[name].bits > 8 ? undefined : formats[name];
}

/** Counts the codes of one tensor and sums what rounding to them costs on average. */
export class CodeAccumulator {
  readonly spec: FormatSpec;
  readonly counts: Float64Array;
  /** Sum of the squared rounding errors to expect, scales applied. */
  expectedSquaredError = 0;
  private readonly noise: Float64Array;

  constructor(spec: FormatSpec) {
    this.spec = spec;
    this.counts = new Float64Array(2 ** spec.bits);
    this.noise = noiseTable(spec);
  }

  /** @param first - index in the tensor of the first code, which selects the scales. */
  add(codes: Uint8Array, first: number, layout: ScaleLayout | undefined, scales: Float32Array): void {
    const { counts } = this;
    for (let i = 0; i < codes.length; i++) counts[codes[i]!] = counts[codes[i]!]! + 1;
    if (layout === undefined) {
      this.expectedSquaredError += sumNoise(codes, 0, codes.length, this.noise);
      return;
    }
    const { cols, block, blockCols } = layout;
    for (let i = 0; i < codes.length; ) {
      const row = Math.floor((first + i) / cols);
      const col = first + i - row * cols;
      const tile = Math.floor(col / block[1]);
      const scale = scales[Math.floor(row / block[0]) * blockCols + tile]!;
      const end = Math.min(i + Math.min((tile + 1) * block[1], cols) - col, codes.length);
      const noise = sumNoise(codes, i, end, this.noise) * scale * scale;
      if (Number.isFinite(noise)) this.expectedSquaredError += noise;
      i = end;
    }
  }

  finish(): CodeStatistics {
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    let entropyBits = 0;
    for (const count of this.counts) {
      if (count > 0) entropyBits -= (count / total) * Math.log2(count / total);
    }
    // -1 * log2(1) is a negative zero.
    return { format: this.spec.name, counts: Array.from(this.counts), entropyBits: entropyBits + 0 };
  }
}

/** Two codes in a byte, low nibble first, to one code a byte. */
export function unpackCodes(packed: Uint8Array, count: number): Uint8Array {
  const codes = new Uint8Array(count);
  for (let i = 0; i < count; i++) codes[i] = (packed[i >> 1]! >> ((i & 1) * 4)) & 15;
  return codes;
}

function sumNoise(codes: Uint8Array, start: number, end: number, noise: Float64Array): number {
  let sum = 0;
  for (let i = start; i < end; i++) sum += noise[codes[i]!]!;
  return sum;
}

/**
 * Variance of a uniform variable within the rounding interval of each code: (distance of its neighbours / 2)^2 / 12.
 * Zeros count as exact: an original zero is by far the likelier origin where they are many.
 */
function noiseTable(spec: FormatSpec): Float64Array {
  const table = decodeTable(spec);
  const noise = new Float64Array(table.length);
  for (let magnitude = 1; magnitude <= spec.maxCode; magnitude++) {
    // The largest has no upper neighbour.
    const below = table[magnitude - 1]!;
    const above =
      magnitude === spec.maxCode ? 2 * table[magnitude]! - table[magnitude - 1]! : table[magnitude + 1]!;
    const variance = ((above - below) / 2) ** 2 / 12;
    noise[magnitude] = variance;
    if (spec.signBit !== 0) noise[magnitude | spec.signBit] = variance;
  }
  return noise;
}
