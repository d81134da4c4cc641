import { badLogits, type RowReader, type RowStatistics } from './row-statistics.js';

/**
 * The plain version in doubles with `Math.exp`, and the yardstick for the others.
 *
 * Entries where the performer has -Infinity are left out of both distributions (0 ln 0 = 0, one common vocabulary). The
 * cross-variance is taken about the performer's value at the observer's best token, which bounds the cancellation that
 * E[x^2] - E[x]^2 suffers by 1 / p(best).
 */
export class ScalarRowReader implements RowReader {
  readonly #inverseTemperature: number;

  constructor(temperature: number) {
    this.#inverseTemperature = 1 / temperature;
  }

  read(observer: Float32Array | undefined, performer: Float32Array, token: number, out: RowStatistics): void {
    const scale = this.#inverseTemperature;
    const vocabulary = performer.length;
    let maximum = -Infinity;
    let observerMaximum = observer === undefined ? 0 : -Infinity;
    let center = 0;
    let bad = false;
    for (let v = 0; v < vocabulary; v++) {
      const q = performer[v]!;
      // False for NaN as well.
      if (!(q < Infinity)) bad = true;
      if (q > maximum) maximum = q;
      if (observer === undefined) continue;
      const p = observer[v]!;
      if (!(p < Infinity)) bad = true;
      if (q !== -Infinity && p > observerMaximum) {
        observerMaximum = p;
        center = q;
      }
    }
    if (bad || maximum === -Infinity || observerMaximum === -Infinity) throw badLogits(observer, performer);

    let sum = 0;
    let first = 0;
    let second = 0;
    let observerSum = 0;
    let crossFirst = 0;
    let crossSecond = 0;
    for (let v = 0; v < vocabulary; v++) {
      const q = performer[v]!;
      if (q === -Infinity) continue;
      const x = (q - maximum) * scale;
      const e = Math.exp(x);
      sum += e;
      first += e * x;
      second += e * x * x;
      if (observer === undefined) continue;
      const w = Math.exp((observer[v]! - observerMaximum) * scale);
      const d = (q - center) * scale;
      observerSum += w;
      crossFirst += w * d;
      crossSecond += w * d * d;
    }
    const mean = first / sum;
    out.maximum = maximum;
    out.logNormalizer = Math.log(sum);
    out.bestLogProb = -out.logNormalizer;
    out.entropy = out.logNormalizer - mean;
    out.variance = Math.max(second / sum - mean * mean, 0);
    out.logProb = token < 0 ? 0 : this.logProbOf(performer, token, out);
    out.rank = token < 0 ? 0 : rankOf(performer, token);
    if (observer === undefined) {
      out.crossEntropy = out.entropy;
      out.crossVariance = out.variance;
      return;
    }
    const crossMean = crossFirst / observerSum;
    out.crossEntropy = out.logNormalizer - (center - maximum) * scale - crossMean;
    out.crossVariance = Math.max(crossSecond / observerSum - crossMean * crossMean, 0);
  }

  logProbOf(performer: Float32Array, token: number, row: RowStatistics): number {
    return (performer[token]! - row.maximum) * this.#inverseTemperature - row.logNormalizer;
  }
}

function rankOf(logits: Float32Array, token: number): number {
  const value = logits[token]!;
  let rank = 1;
  for (let v = 0; v < token; v++) if (logits[v]! >= value) rank++;
  for (let v = token + 1; v < logits.length; v++) if (logits[v]! > value) rank++;
  return rank;
}
