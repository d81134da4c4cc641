/** An ordered set of slots as a doubly linked list in typed arrays: every change is O(1), nothing is allocated. */
export class SlotList {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #head = -1;
  #tail = -1;
  #size = 0;

  constructor(capacity: number) {
    this.#next = new Int32Array(capacity).fill(-1);
    this.#previous = new Int32Array(capacity).fill(-1);
  }

  get size(): number {
    return this.#size;
  }

  /** First slot, -1 if empty. */
  get head(): number {
    return this.#head;
  }

  /** Last slot, -1 if empty. */
  get tail(): number {
    return this.#tail;
  }

  /** The slot behind `slot`, -1 at the end. */
  after(slot: number): number {
    return this.#next[slot]!;
  }

  /** The slot before `slot`, -1 at the start. */
  before(slot: number): number {
    return this.#previous[slot]!;
  }

  append(slot: number): void {
    this.#previous[slot] = this.#tail;
    this.#next[slot] = -1;
    if (this.#tail < 0) this.#head = slot;
    else this.#next[this.#tail] = slot;
    this.#tail = slot;
    this.#size++;
  }

  /** Removes a slot that is in the list. */
  remove(slot: number): void {
    const previous = this.#previous[slot]!;
    const next = this.#next[slot]!;
    if (previous < 0) this.#head = next;
    else this.#next[previous] = next;
    if (next < 0) this.#tail = previous;
    else this.#previous[next] = previous;
    this.#size--;
  }
}
