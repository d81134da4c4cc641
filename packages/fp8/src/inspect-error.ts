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
    if (!this.addFinite(originals, values, codes)) this.addAny(originals, values, codes);
  }

  /** Adds pieces without NaN and infinity, as nearly all are; false, and nothing added, for others. */
  private addFinite(
    originals: Float32Array,
    values: Float32Array,
    codes: ArrayLike<number> | undefined,
  ): boolean {
    const { slack } = this;
    let [noise, signal, largest, underflows, saturations] = [0, 0, this.largest, 0, 0];
    for (let i = 0; i < originals.length; i++) {
      const original = originals[i]!;
      const value = values[i]!;
      const difference = value - original;
      const distance = Math.abs(difference);
      noise += difference * difference;
      signal += original * original;
      if (distance > largest) largest = distance;
      if (Math.abs(original) > Math.abs(value) * slack) {
        if (value === 0) underflows++;
        else if (this.isLargest(value, codes, i)) saturations++;
      }
    }
    // One NaN or infinity makes a sum that is not finite.
    if (!Number.isFinite(noise + signal)) return false;
    this.noise += noise;
    this.signal += signal;
    this.largest = largest;
    this.underflows += underflows;
    this.saturations += saturations;
    return true;
  }

  private addAny(originals: Float32Array, values: Float32Array, codes: ArrayLike<number> | undefined): void {
    for (let i = 0; i < originals.length; i++) {
      const original = originals[i]!;
      const value = values[i]!;
      if (!Number.isFinite(original) || !Number.isFinite(value)) {
        this.skipped++;
        continue;
      }
      const distance = Math.abs(value - original);
      this.noise += distance * distance;
      this.signal += original * original;
      if (distance > this.largest) this.largest = distance;
      if (Math.abs(original) <= Math.abs(value) * this.slack) continue;
      if (value === 0) this.underflows++;
      else if (this.isLargest(value, codes, i)) this.saturations++;
    }
  }

  private isLargest(value: number, codes: ArrayLike<number> | undefined, i: number): boolean {
    if (codes === undefined) return Math.abs(value) === this.max;
    return (codes[i]! & this.magnitudeMask) === this.maxCode;
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
