/** Keeps the number of a label's values bounded, whatever clients and servers send: what comes late is `other`. */
export class LabelLimit {
  readonly #seen = new Set<string>();
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The value, or `other` when there are enough of them already. */
  value(value: string): string {
    if (this.#seen.has(value)) return value;
    if (this.#seen.size >= this.#limit || value.length > 256) return 'other';
    this.#seen.add(value);
    return value;
  }
}
