import { ServingError } from '../errors.js';
import type { SequenceSetup } from './protocol.js';

/** The token history of one request in a worker: prompt, then what was generated. */
export class Sequence {
  readonly setup: SequenceSetup;
  readonly #tokens: Int32Array;
  #length = 0;

  constructor(setup: SequenceSetup) {
    this.setup = setup;
    this.#tokens = new Int32Array(setup.capacity);
  }

  get length(): number {
    return this.#length;
  }

  /** Writes tokens from position `from` on; the history ends after them. */
  write(from: number, tokens: Int32Array): void {
    if (from > this.#length || from + tokens.length > this.#tokens.length) {
      throw broken(`tokens ${from} to ${from + tokens.length} do not follow a history of ${this.#length}`);
    }
    this.#tokens.set(tokens, from);
    this.#length = from + tokens.length;
  }

  push(token: number): void {
    if (this.#length < this.#tokens.length) this.#tokens[this.#length++] = token;
  }

  at(position: number): number {
    return this.#tokens[position]!;
  }

  /** Copies `count` tokens from `from` on into `out` at `to`. */
  copy(from: number, count: number, out: Int32Array, to: number): void {
    if (from + count > this.#length)
      throw broken(`token ${from + count - 1} of ${this.#length} was asked for`);
    for (let i = 0; i < count; i++) out[to + i] = this.#tokens[from + i]!;
  }
}

function broken(what: string): ServingError {
  return new ServingError({
    code: 'serving/broken-history',
    message: `the engine lost track of a request: ${what}`,
    remedy: 'this is a defect of moestack: please report it',
  });
}
