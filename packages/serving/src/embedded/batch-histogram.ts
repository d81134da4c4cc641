import type { HistogramSnapshot } from '../backend.js';

const bounds = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256];

/** Counts how many sequences decode together. */
export class BatchHistogram {
  readonly #counts = new Float64Array(bounds.length);
  #sum = 0;
  #count = 0;

  observe(value: number): void {
    this.#sum += value;
    this.#count += 1;
    for (let i = bounds.length - 1; i >= 0 && value <= bounds[i]!; i--) this.#counts[i]! += 1;
  }

  snapshot(): HistogramSnapshot {
    return { bounds, counts: Array.from(this.#counts), sum: this.#sum, count: this.#count };
  }
}
