/** Relative accuracy of quantiles. */
const ACCURACY = 0.005;
const GAMMA = (1 + ACCURACY) / (1 - ACCURACY);
const LOG_GAMMA = Math.log(GAMMA);
/** Buckets from 1e-7 to 1e7, whatever the unit. */
const OFFSET = Math.ceil(Math.log(1e7) / LOG_GAMMA);
const BUCKETS = 2 * OFFSET + 1;

/** Quantiles of a stream of non-negative values within 0.5 %, in memory that does not grow (the buckets of DDSketch, Masson et al. 2019). */
export class QuantileSketch {
  readonly #counts: Float64Array = new Float64Array(BUCKETS);
  #zeros = 0;
  #count = 0;
  #sum = 0;
  #minimum = Number.POSITIVE_INFINITY;
  #maximum = 0;

  /** Takes in one value. */
  add(value: number): void {
    this.#count++;
    this.#sum += value;
    if (value < this.#minimum) this.#minimum = value;
    if (value > this.#maximum) this.#maximum = value;
    if (value < 1e-7) {
      this.#zeros++;
      return;
    }
    const bucket = Math.min(BUCKETS - 1, Math.ceil(Math.log(value) / LOG_GAMMA) + OFFSET);
    this.#counts[Math.max(0, bucket)]! += 1;
  }

  /** Values taken in. */
  get count(): number {
    return this.#count;
  }

  /** Their mean. */
  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /** The largest of them. */
  get maximum(): number {
    return this.#maximum;
  }

  /** The value below which a share `q` of the values lies; 0 without values. */
  quantile(q: number): number {
    if (this.#count === 0) return 0;
    const rank = q * (this.#count - 1);
    if (rank >= this.#count - 1) return this.#maximum;
    let seen = this.#zeros;
    if (seen > rank) return Math.max(0, this.#minimum);
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen > rank) {
        const value = (2 * GAMMA ** (bucket - OFFSET)) / (GAMMA + 1);
        return Math.min(this.#maximum, Math.max(this.#minimum, value));
      }
    }
    return this.#maximum;
  }
}
