/** Which block holds which prefix: an open-addressing hash table over integer keys in typed arrays; nothing is allocated. */
export class BlockIndex {
  readonly #keys: Float64Array;
  readonly #blocks: Int32Array;
  readonly #mask: number;

  /** @param capacity - most entries at once; the table is kept at most half full. */
  constructor(capacity: number) {
    let size = 4;
    while (size < 2 * capacity) size *= 2;
    this.#keys = new Float64Array(size);
    this.#blocks = new Int32Array(size).fill(-1);
    this.#mask = size - 1;
  }

  /** The block of a key, -1 if there is none. */
  get(key: number): number {
    for (let at = this.#home(key); this.#blocks[at]! >= 0; at = (at + 1) & this.#mask) {
      if (this.#keys[at] === key) return this.#blocks[at]!;
    }
    return -1;
  }

  /** Adds a key that is not there. */
  add(key: number, block: number): void {
    let at = this.#home(key);
    while (this.#blocks[at]! >= 0) at = (at + 1) & this.#mask;
    this.#keys[at] = key;
    this.#blocks[at] = block;
  }

  /** Removes a key that is there, and closes the gap so that no search ends too soon (Knuth, TAOCP 6.4 R). */
  remove(key: number): void {
    let gap = this.#home(key);
    while (this.#keys[gap] !== key || this.#blocks[gap]! < 0) gap = (gap + 1) & this.#mask;
    for (let at = (gap + 1) & this.#mask; this.#blocks[at]! >= 0; at = (at + 1) & this.#mask) {
      const home = this.#home(this.#keys[at]!);
      // An entry may fill the gap unless its home lies cyclically after the gap.
      if (((at - home) & this.#mask) < ((at - gap) & this.#mask)) continue;
      this.#keys[gap] = this.#keys[at]!;
      this.#blocks[gap] = this.#blocks[at]!;
      gap = at;
    }
    this.#blocks[gap] = -1;
  }

  #home(key: number): number {
    const low = key | 0;
    const high = Math.floor(key / 2 ** 32) | 0;
    let h = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
    return (h ^ (h >>> 16)) & this.#mask;
  }
}
