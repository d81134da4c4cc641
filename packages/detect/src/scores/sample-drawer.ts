import { needInteger } from './checks.js';

/** Draws tokens from a row of logits by inverting its cumulative distribution at sorted uniform numbers. */
export class SampleDrawer {
  readonly #random: () => number;
  readonly #inverseTemperature: number;
  readonly #weights: Float64Array;
  readonly #points: Float64Array;
  readonly #order: Uint32Array;
  readonly #ids: Int32Array;

  constructor(vocabulary: number, temperature: number, options: { samples: number; random: () => number }) {
    needInteger('samples', options.samples, 2, 1 << 20);
    this.#random = options.random;
    this.#inverseTemperature = 1 / temperature;
    this.#weights = new Float64Array(vocabulary);
    this.#points = new Float64Array(options.samples);
    this.#order = new Uint32Array(options.samples);
    this.#ids = new Int32Array(options.samples);
  }

  /** Ids of one position, in the order of the random numbers; the array is reused. */
  draw(logits: Float32Array): Int32Array {
    let maximum = -Infinity;
    for (let v = 0; v < logits.length; v++) if (logits[v]! > maximum) maximum = logits[v]!;
    let sum = 0;
    for (let v = 0; v < logits.length; v++) {
      sum += Math.exp((logits[v]! - maximum) * this.#inverseTemperature);
      this.#weights[v] = sum;
    }
    const points = this.#points;
    for (let s = 0; s < points.length; s++) {
      points[s] = this.#random() * sum;
      this.#order[s] = s;
    }
    this.#order.sort((a, b) => points[a]! - points[b]!);
    let v = 0;
    for (const s of this.#order) {
      // The second condition ends at the last token with any weight, should rounding put a point at the very end.
      while (!(this.#weights[v]! > points[s]!) && this.#weights[v]! < sum) v++;
      this.#ids[s] = v;
    }
    return this.#ids;
  }
}
