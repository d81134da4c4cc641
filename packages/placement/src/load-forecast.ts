import { badConfig, badShape, positiveInteger } from './operands.js';

/** Weights of the newest bucket in the averages that compete; each remembers about 1 / rate buckets. */
const RATES = [0.05, 0.1, 0.2, 0.4, 0.7];
/** How fast the record of past errors fades, per bucket. */
const MEMORY = 0.8;
/** How sharply the average with the smallest recent error is preferred; the choice is flat from 10 to 100. */
const SHARPNESS = 30;

/**
 * Predicts the load of the next buckets from those seen. Moving averages of several lengths run side by side, and in
 * each layer those that have lately predicted best count most: long ones while load is steady, short ones in a burst.
 * It works on shares of a layer's tokens, since only these decide balance, so busy and quiet minutes count alike.
 */
export class LoadForecast {
  readonly layers: number;
  readonly experts: number;
  readonly #horizon: number;
  /** [rates][layers, experts]. */
  readonly #averages: Float64Array[];
  /** [horizon][rates][layers, experts]: the averages as they stood before each of the last buckets. */
  readonly #past: Float64Array[][];
  /** [horizon][layers, experts]: the last buckets. */
  readonly #recent: Float64Array[];
  /** [rates, layers]. */
  readonly #errors: Float64Array;
  readonly #seen: Int32Array;
  #buckets = 0;

  /** @param horizonBuckets - for how many buckets a plan will stand; default 1. */
  constructor(layers: number, experts: number, horizonBuckets: number = 1) {
    this.layers = positiveInteger('layers', layers);
    this.experts = positiveInteger('experts', experts);
    this.#horizon = positiveInteger('horizonBuckets', horizonBuckets);
    if (horizonBuckets > 1000) {
      throw badConfig(
        `expected horizonBuckets of at most 1000, got ${horizonBuckets}`,
        horizonBuckets,
        'use longer buckets',
      );
    }
    const row = (): Float64Array => new Float64Array(layers * experts);
    this.#averages = RATES.map(row);
    this.#past = Array.from({ length: horizonBuckets }, () => RATES.map(row));
    this.#recent = Array.from({ length: horizonBuckets }, row);
    this.#errors = new Float64Array(RATES.length * layers);
    this.#seen = new Int32Array(layers);
  }

  /** Takes in the counts of one bucket, [layers, experts]; a layer without tokens is left as it was. */
  observe(counts: ArrayLike<number>): void {
    const { layers, experts } = this;
    if (counts.length !== layers * experts) {
      throw badShape(
        `expected ${layers} x ${experts} counts, got ${counts.length}`,
        counts.length,
        'pass the counts of one bucket',
      );
    }
    const turn = this.#buckets % this.#horizon;
    for (let layer = 0; layer < layers; layer++) this.#observeLayer(counts, layer, turn);
    this.#buckets++;
  }

  #observeLayer(counts: ArrayLike<number>, layer: number, turn: number): void {
    const { experts } = this;
    const first = layer * experts;
    let total = 0;
    for (let i = first; i < first + experts; i++) total += counts[i]!;
    const recent = this.#recent[turn]!;
    const seen = this.#seen[layer]!;
    const scale = total > 0 ? experts / total : 0;
    // A bucket without tokens repeats the last average: it says nothing.
    for (let i = first; i < first + experts; i++) {
      recent[i] = total > 0 ? counts[i]! * scale : this.#averages[RATES.length - 1]![i]!;
    }
    for (let r = 0; r < RATES.length; r++) {
      const average = this.#averages[r]!;
      const past = this.#past[turn]![r]!;
      for (let i = first; i < first + experts; i++) past[i] = average[i]!;
      if (total === 0) continue;
      // A plain mean until there are as many buckets as the average remembers.
      const rate = Math.max(RATES[r]!, 1 / (seen + 1));
      for (let i = first; i < first + experts; i++) average[i]! += rate * (recent[i]! - average[i]!);
    }
    if (total > 0) this.#seen[layer]!++;
    if (this.#buckets + 1 >= this.#horizon && seen >= this.#horizon) this.#score(layer);
  }

  /** Compares what each average said a horizon ago with the mean of the buckets since. */
  #score(layer: number): void {
    const { experts } = this;
    const first = layer * experts;
    const oldest = (this.#buckets + 1) % this.#horizon;
    for (let r = 0; r < RATES.length; r++) {
      const said = this.#past[oldest]![r]!;
      let error = 0;
      for (let i = first; i < first + experts; i++) {
        let mean = 0;
        for (let h = 0; h < this.#horizon; h++) mean += this.#recent[h]![i]!;
        const miss = mean / this.#horizon - said[i]!;
        error += miss * miss;
      }
      const entry = r * this.layers + layer;
      this.#errors[entry] = MEMORY * this.#errors[entry]! + (1 - MEMORY) * error;
    }
  }

  /**
   * The expected load, [layers, experts], scaled to a mean of 1 an expert; zeros for layers without tokens so far.
   *
   * @param out - where to write it.
   */
  forecastInto(out: Float64Array): void {
    const { layers, experts } = this;
    if (out.length !== layers * experts) {
      throw badShape(
        `expected ${layers} x ${experts} values in out, got ${out.length}`,
        out.length,
        'resize out',
      );
    }
    out.fill(0);
    const weights = new Float64Array(RATES.length);
    for (let layer = 0; layer < layers; layer++) {
      let least = Number.POSITIVE_INFINITY;
      for (let r = 0; r < RATES.length; r++) least = Math.min(least, this.#errors[r * layers + layer]!);
      let total = 0;
      for (let r = 0; r < RATES.length; r++) {
        const excess = this.#errors[r * layers + layer]! - least;
        weights[r] = least > 0 ? Math.exp((-SHARPNESS * excess) / least) : excess > 0 ? 0 : 1;
        total += weights[r]!;
      }
      for (let r = 0; r < RATES.length; r++) {
        const weight = weights[r]! / total;
        const average = this.#averages[r]!;
        for (let i = layer * experts; i < (layer + 1) * experts; i++) out[i]! += weight * average[i]!;
      }
    }
  }
}
