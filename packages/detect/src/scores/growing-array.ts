/** Doubles that are appended one at a time. */
export class GrowingArray {
  #values: Float64Array = new Float64Array(256);
  #length: number = 0;

  get length(): number {
    return this.#length;
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Float64Array(this.#length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.#length++] = value;
  }

  /** A copy of what was appended. */
  toArray(): Float64Array {
    return this.#values.slice(0, this.#length);
  }
}
