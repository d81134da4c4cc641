import type { LatencySummary } from '@moestack/schemas';

/** Values in seconds, all kept up to a bound; beyond it every other one is dropped, and then fewer are kept. */
export class LatencySamples {
  #values = new Float64Array(1024);
  #size = 0;
  #stride = 1;
  #skipped = 0;
  #count = 0;
  #sum = 0;
  #minimum = Number.POSITIVE_INFINITY;
  #maximum = 0;
  readonly #most: number;

  constructor(most = 1 << 20) {
    this.#most = most;
  }

  add(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    if (seconds < this.#minimum) this.#minimum = seconds;
    if (seconds > this.#maximum) this.#maximum = seconds;
    if (++this.#skipped < this.#stride) return;
    this.#skipped = 0;
    if (this.#size === this.#values.length) this.#makeRoom();
    this.#values[this.#size++] = seconds;
  }

  /** Percentiles by linear interpolation; undefined without values. */
  summary(): LatencySummary | undefined {
    if (this.#count === 0) return undefined;
    const sorted = this.#values.slice(0, this.#size).sort();
    const at = (fraction: number): number => {
      const rank = fraction * (sorted.length - 1);
      const low = Math.floor(rank);
      const high = Math.min(sorted.length - 1, low + 1);
      return sorted[low]! + (sorted[high]! - sorted[low]!) * (rank - low);
    };
    return {
      count: this.#count,
      mean: this.#sum / this.#count,
      minimum: this.#minimum,
      p50: at(0.5),
      p90: at(0.9),
      p95: at(0.95),
      p99: at(0.99),
      maximum: this.#maximum,
    };
  }

  #makeRoom(): void {
    if (this.#values.length < this.#most) {
      const larger = new Float64Array(this.#values.length * 2);
      larger.set(this.#values);
      this.#values = larger;
      return;
    }
    for (let i = 0; 2 * i < this.#size; i++) this.#values[i] = this.#values[2 * i]!;
    this.#size = Math.ceil(this.#size / 2);
    this.#stride *= 2;
  }
}
