import type { ErrorStatistics } from '@moestack/schemas';
import { floorLog2 } from './exponent.js';
import type { FormatSpec } from './format-spec.js';

/** Collects {@link ErrorStatistics} of values that were rounded to `spec`, perhaps with scales. */
export class ErrorAccumulator {
  private readonly magnitudeMask: number;
  private readonly maxCode: number;
  private readonly max: number;
  /** How far an original may lie beyond the largest value, relative to it, and still be rounded, not cut. */
  private readonly slack: number;
  private noise = 0;
  private signal = 0;
  private largest = 0;
  private underflows = 0;
  private saturations = 0;
  private skipped = 0;

  constructor(spec: FormatSpec) {
    this.magnitudeMask = spec.signBit === 0 ? spec.maxCode : spec.signBit - 1;
    this.maxCode = spec.maxCode;
    this.max = spec.max;
    const halfUnit = 2 ** (floorLog2(spec.max) - spec.mantissaBits - 1);
    this.slack = 1 + halfUnit / spec.max;
  }

  /** @param codes - of `values`, one each; without them `values` are of the format itself, unscaled. */
  add(originals: Float32Array, values: Float32Array, codes: ArrayLike<number> | undefined): void {
    const { magnitudeMask, maxCode, max, slack } = this;
    let { noise, signal, largest, underflows } = this;
    for (let i = 0; i < originals.length; i++) {
      const original = originals[i]!;
      const value = values[i]!;
      const difference = value - original;
      // Not finite where either side is not, or where both are and far apart: no error has a number then.
      if (difference - difference !== 0 || original - original !== 0) {
        this.skipped++;
        continue;
      }
      noise += difference * difference;
      signal += original * original;
      const distance = Math.abs(difference);
      if (distance > largest) largest = distance;
      if (value === 0) {
        if (original !== 0) underflows++;
      } else if (distance > 0 && Math.abs(original) > Math.abs(value) * slack) {
        const isLargest =
          codes === undefined ? Math.abs(value) === max : (codes[i]! & magnitudeMask) === maxCode;
        if (isLargest) this.saturations++;
      }
    }
    this.noise = noise;
    this.signal = signal;
    this.largest = largest;
    this.underflows = underflows;
  }

  finish(): ErrorStatistics {
    const { underflows, saturations, skipped, largest } = this;
    return {
      ...relativeError(this.noise, this.signal),
      largestError: largest,
      underflows,
      saturations,
      skipped,
    };
  }
}

/** Relative Frobenius error and signal to noise of sums of squares. */
export function relativeError(
  noise: number,
  signal: number,
): Pick<ErrorStatistics, 'relativeError' | 'signalToNoiseDb'> {
  // All zeros that became something have no relative error; 1 says that nothing of the original is left.
  if (signal === 0) return { relativeError: noise === 0 ? 0 : 1, signalToNoiseDb: noise === 0 ? null : 0 };
  const relative = Math.sqrt(noise / signal);
  return { relativeError: relative, signalToNoiseDb: noise === 0 ? null : -20 * Math.log10(relative) };
}
