import type { HistogramSnapshot } from '../backend.js';

/** Counts values between bounds; an observation allocates nothing. */
export class CumulativeHistogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #count = 0;

  /** @param bounds - in rising order. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length);
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    this.#sum += value;
    this.#count += 1;
    for (let i = 0; i < bounds.length; i++) {
      if (value > bounds[i]!) continue;
      this.#counts[i]! += 1;
      return;
    }
  }

  snapshot(): HistogramSnapshot {
    let below = 0;
    const counts = Array.from(this.#counts, (count) => {
      below += count;
      return below;
    });
    return { bounds: this.#bounds, counts, sum: this.#sum, count: this.#count };
  }
}

/** Bounds for sequences that decode together. */
export const batchBounds: readonly number[] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256];

/** Bounds for the time to a first token, in seconds. */
export const ttftBounds: readonly number[] = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];

/** Bounds for the time between tokens, in seconds. */
export const tpotBounds: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5,
];
