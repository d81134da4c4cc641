import { Arena, LOGIT_STATS_LENGTH, LogitStatsKernels } from '@moestack/kernels';
import { badLogits, type RowReader, type RowStatistics } from './row-statistics.js';

const OVERHEAD_BYTES = 65_536;

/**
 * One instance for the whole thread, for the largest vocabulary so far: a read is synchronous and leaves nothing behind, and
 * every WebAssembly memory reserves gigabytes of addresses.
 */
let shared: { readonly kernels: LogitStatsKernels; readonly vocabulary: number } | undefined;

function sharedKernels(vocabulary: number): LogitStatsKernels {
  if (shared === undefined || shared.vocabulary < vocabulary) {
    const arena = Arena.create({ maximumBytes: 8 * vocabulary + OVERHEAD_BYTES });
    shared = { kernels: new LogitStatsKernels(arena), vocabulary };
  }
  return shared.kernels;
}

/**
 * The SIMD version: same sums in doubles, exponentials with relative error below 3e-14. Its working space is one row of each
 * model; the rows themselves stay the caller's.
 */
export class KernelRowReader implements RowReader {
  readonly #kernels: LogitStatsKernels;
  readonly #inverseTemperature: number;
  readonly #sums: Float64Array = new Float64Array(LOGIT_STATS_LENGTH);

  constructor(vocabulary: number, temperature: number) {
    this.#kernels = sharedKernels(vocabulary);
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
