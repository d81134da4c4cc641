/** A binary heap of (time, number) pairs: earliest first, lower numbers first at equal times. */
export class EventQueue {
  #times = new Float64Array(64);
  #ids = new Int32Array(64);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Time of the earliest event, Infinity if there is none. */
  get nextTime(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#times[0]!;
  }

  push(time: number, id: number): void {
    if (this.#size === this.#times.length) this.#grow();
    let place = this.#size++;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (!this.#before(time, id, parent)) break;
      this.#times[place] = this.#times[parent]!;
      this.#ids[place] = this.#ids[parent]!;
      place = parent;
    }
    this.#times[place] = time;
    this.#ids[place] = id;
  }

  /** Removes the earliest event and returns its number; there must be one. */
  pop(): number {
    const result = this.#ids[0]!;
    const size = --this.#size;
    const time = this.#times[size]!;
    const id = this.#ids[size]!;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(this.#times[child + 1]!, this.#ids[child + 1]!, child)) child++;
      if (this.#before(time, id, child)) break;
      this.#times[place] = this.#times[child]!;
      this.#ids[place] = this.#ids[child]!;
      place = child;
    }
    this.#times[place] = time;
    this.#ids[place] = id;
    return result;
  }

  #before(time: number, id: number, place: number): boolean {
    const other = this.#times[place]!;
    return time < other || (time === other && id < this.#ids[place]!);
  }

  #grow(): void {
    const times = new Float64Array(2 * this.#times.length);
    const ids = new Int32Array(2 * this.#ids.length);
    times.set(this.#times);
    ids.set(this.#ids);
    this.#times = times;
    this.#ids = ids;
  }
}
