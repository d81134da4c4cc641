import { Arena, LOGIT_STATS_LENGTH, LogitStatsKernels } from '@moestack/kernels';
import { badLogits, type RowReader, type RowStatistics } from './row-statistics.js';

/** Two pieces of rows and the kernels' own state. */
const ARENA_BYTES = 262_144;

/** One instance for the whole thread: a read is synchronous and leaves nothing behind, and every memory reserves addresses. */
let shared: LogitStatsKernels | undefined;

/**
 * The SIMD version: same sums in doubles, exponentials with relative error below 3e-14. Its working space is 128 KiB; the
 * rows stay the caller's.
 */
export class KernelRowReader implements RowReader {
  readonly #kernels: LogitStatsKernels;
  readonly #inverseTemperature: number;
  readonly #sums: Float64Array = new Float64Array(LOGIT_STATS_LENGTH);

  constructor(temperature: number) {
    shared ??= new LogitStatsKernels(Arena.create({ maximumBytes: ARENA_BYTES }));
    this.#kernels = shared;
    this.#inverseTemperature = 1 / temperature;
  }

  read(observer: Float32Array | undefined, performer: Float32Array, token: number, out: RowStatistics): void {
    const sums = this.#sums;
    const scale = this.#inverseTemperature;
    this.#kernels.logitStats(observer, performer, performer.length, token, scale, sums);
    if (sums[10] === 1) throw badLogits(observer, performer);
    const sum = sums[1]!;
    const mean = sums[2]! / sum;
    out.maximum = sums[0]!;
    out.logNormalizer = Math.log(sum);
    out.bestLogProb = -out.logNormalizer;
    out.entropy = out.logNormalizer - mean;
    out.variance = Math.max(sums[3]! / sum - mean * mean, 0);
    out.logProb = token < 0 ? 0 : this.logProbOf(performer, token, out);
    out.rank = sums[9]!;
    if (observer === undefined) {
      out.crossEntropy = out.entropy;
      out.crossVariance = out.variance;
      return;
    }
    const observerSum = sums[5]!;
    const crossMean = sums[7]! / observerSum;
    out.crossEntropy = out.logNormalizer - (sums[6]! - out.maximum) * scale - crossMean;
    out.crossVariance = Math.max(sums[8]! / observerSum - crossMean * crossMean, 0);
  }

  logProbOf(performer: Float32Array, token: number, row: RowStatistics): number {
    return (performer[token]! - row.maximum) * this.#inverseTemperature - row.logNormalizer;
  }
}
