import { roundBfloat16 } from './bfloat16.js';
import { badLogits, type RowReader, type RowStatistics } from './row-statistics.js';
import { ScalarRowReader } from './scalar-row-reader.js';

/**
 * Repeats the roundings of a Binoculars run in bfloat16: logits divided by the temperature, log-softmax, softmax and the
 * products summed over the vocabulary are each rounded to bfloat16. `logProb` and `crossEntropy` carry these roundings;
 * the other fields are those of doubles over the rounded logits.
 */
export class Bfloat16RowReader implements RowReader {
  readonly #temperature: number;
  readonly #plain: ScalarRowReader = new ScalarRowReader(1);
  readonly #observer: Float32Array;
  readonly #performer: Float32Array;

  constructor(vocabulary: number, temperature: number) {
    this.#temperature = temperature;
    this.#observer = new Float32Array(vocabulary);
    this.#performer = new Float32Array(vocabulary);
  }

  read(observer: Float32Array | undefined, performer: Float32Array, token: number, out: RowStatistics): void {
    if (performer.some(isBad) || observer?.some(isBad)) throw badLogits(observer, performer);
    this.#round(performer, this.#performer);
    if (observer !== undefined) this.#round(observer, this.#observer);
    const p = observer === undefined ? undefined : this.#observer;
    const q = this.#performer;
    this.#plain.read(p, q, token, out);
    out.logProb = token < 0 ? 0 : this.#roundedLogProb(token, out);
    if (p === undefined) return;

    let maximum = -Infinity;
    for (let v = 0; v < p.length; v++) if (q[v] !== -Infinity && p[v]! > maximum) maximum = p[v]!;
    let sum = 0;
    for (let v = 0; v < p.length; v++) if (q[v] !== -Infinity) sum += Math.exp(p[v]! - maximum);
    let cross = 0;
    for (let v = 0; v < p.length; v++) {
      if (q[v] === -Infinity) continue;
      cross += roundBfloat16(Math.exp(p[v]! - maximum) / sum) * this.#roundedLogProb(v, out);
    }
    out.crossEntropy = roundBfloat16(-cross);
  }

  logProbOf(_performer: Float32Array, token: number, row: RowStatistics): number {
    return this.#roundedLogProb(token, row);
  }

  #roundedLogProb(token: number, row: RowStatistics): number {
    return roundBfloat16(this.#performer[token]! - row.maximum - row.logNormalizer);
  }

  #round(from: Float32Array, to: Float32Array): void {
    for (let v = 0; v < from.length; v++) to[v] = roundBfloat16(roundBfloat16(from[v]!) / this.#temperature);
  }
}

function isBad(logit: number): boolean {
  return Number.isNaN(logit) || logit === Infinity;
}
