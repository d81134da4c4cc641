import type { ScaleStatistics } from '@moestack/schemas';
import { trimHistogram } from './inspect-values.js';

const FIRST_BINADE = -149;
const BINADES = 277;

/** Collects {@link ScaleStatistics}; scales are float32, as they are applied. */
export class ScaleAccumulator {
  private readonly block: readonly [rows: number, cols: number];
  private readonly binades = new Float64Array(BINADES);
  private count = 0;
  private smallest = Number.POSITIVE_INFINITY;
  private largest = 0;
  private powersOfTwo = 0;
  private invalid = 0;

  constructor(block: readonly [rows: number, cols: number]) {
    this.block = block;
  }

  add(scales: Float32Array): void {
    const words = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
    this.count += scales.length;
    for (let i = 0; i < scales.length; i++) {
      const scale = scales[i]!;
      if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) {
        this.invalid++;
        continue;
      }
      const bits = words[i]!;
      const mantissa = bits & 0x7fffff;
      const isNormal = bits >= 0x800000;
      // A subnormal is a power of two where one bit is set.
      if (isNormal ? mantissa === 0 : (mantissa & (mantissa - 1)) === 0) this.powersOfTwo++;
      const index = isNormal ? (bits >>> 23) + 22 : 31 - Math.clz32(bits);
      this.binades[index] = this.binades[index]! + 1;
      if (scale < this.smallest) this.smallest = scale;
      if (scale > this.largest) this.largest = scale;
    }
  }

  finish(): ScaleStatistics {
    const { count, powersOfTwo, invalid, largest, block } = this;
    return {
      count,
      block: [block[0], block[1]],
      smallest: largest === 0 ? null : this.smallest,
      largest,
      powersOfTwo,
      invalid,
      binades: trimHistogram(FIRST_BINADE, this.binades),
    };
  }
}
