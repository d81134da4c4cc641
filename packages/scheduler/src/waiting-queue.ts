/**
 * Slots that wait for admission: highest priority first, then order of arrival.
 *
 * A binary heap that knows each slot's place, so that a cancelled request leaves in O(log n).
 */
export class WaitingQueue {
  readonly #heap: Int32Array;
  readonly #places: Int32Array;
  readonly #priorities: Float64Array;
  readonly #orders: Float64Array;
  #size = 0;
  #nextBack = 0;
  #nextFront = -1;

  constructor(capacity: number) {
    this.#heap = new Int32Array(capacity);
    this.#places = new Int32Array(capacity).fill(-1);
    this.#priorities = new Float64Array(capacity);
    this.#orders = new Float64Array(capacity);
  }

  get size(): number {
    return this.#size;
  }

  /** The slot to admit next, -1 if none waits. */
  peek(): number {
    return this.#size === 0 ? -1 : this.#heap[0]!;
  }

  /** Puts a slot behind all others of its priority. */
  pushBack(slot: number, priority: number): void {
    this.#push(slot, priority, this.#nextBack++);
  }

  /** Puts a slot before all others of its priority. */
  pushFront(slot: number, priority: number): void {
    this.#push(slot, priority, this.#nextFront--);
  }

  /** Removes a slot that is in the queue. */
  remove(slot: number): void {
    const place = this.#places[slot]!;
    this.#places[slot] = -1;
    const moved = this.#heap[--this.#size]!;
    if (moved === slot) return;
    this.#heap[place] = moved;
    this.#places[moved] = place;
    this.#rise(place);
    this.#sink(this.#places[moved]!);
  }

  #push(slot: number, priority: number, order: number): void {
    this.#priorities[slot] = priority;
    this.#orders[slot] = order;
    this.#heap[this.#size] = slot;
    this.#places[slot] = this.#size;
    this.#rise(this.#size++);
  }

  #precedes(a: number, b: number): boolean {
    const difference = this.#priorities[a]! - this.#priorities[b]!;
    return difference !== 0 ? difference > 0 : this.#orders[a]! < this.#orders[b]!;
  }

  #rise(place: number): void {
    const slot = this.#heap[place]!;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = this.#heap[parent]!;
      if (!this.#precedes(slot, above)) break;
      this.#set(place, above);
      place = parent;
    }
    this.#set(place, slot);
  }

  #sink(place: number): void {
    const slot = this.#heap[place]!;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#precedes(this.#heap[child + 1]!, this.#heap[child]!)) child++;
      const below = this.#heap[child]!;
      if (!this.#precedes(below, slot)) break;
      this.#set(place, below);
      place = child;
    }
    this.#set(place, slot);
  }

  #set(place: number, slot: number): void {
    this.#heap[place] = slot;
    this.#places[slot] = place;
  }
}
