import type { CombineFormat } from './config.js';
import { type MessageBuffer, RowView } from './message-buffer.js';
import type { RowSum } from './rows.js';

/** Up to two rows added to every combined token, in the combine format. */
export type Biases = readonly (Float32Array | Uint16Array)[];

/** Adds biases first: f32(bias0 + bias1), before any row. */
export class BiasRows {
  readonly #views: readonly [RowView, RowView];
  readonly #rowBytes: number;
  #first: MessageBuffer | undefined;
  #second: MessageBuffer | undefined;

  constructor(hidden: number, format: CombineFormat) {
    this.#views = [new RowView(hidden), new RowView(hidden)];
    this.#rowBytes = hidden * (format === 'f32' ? 4 : 2);
  }

  begin(biases: Biases | undefined, elements: number): void {
    const [first, second] = biases ?? [];
    this.#first = first === undefined ? undefined : this.#views[0].of(first, elements);
    this.#second = second === undefined ? undefined : this.#views[1].of(second, elements);
  }

  /** Starts the sum of a token. */
  start(token: number, sum: RowSum): void {
    sum.clear();
    if (this.#first !== undefined) sum.add(this.#first, token * this.#rowBytes);
    if (this.#second !== undefined) sum.add(this.#second, token * this.#rowBytes);
  }
}
