/**
 * Prefix blocks that are resident, least recently used ones leaving first.
 *
 * A hit is the longest prefix of a request's blocks that are all resident. Afterwards its blocks count as used from the last to the first, so that
 * the first, which most requests share, leaves last; missing ones are added, and the least recent leave until no more than `capacity` remain.
 */
export class PrefixCache {
  readonly #capacity: number;
  /** Maps keep the order of insertion: the first key is the least recent. */
  readonly #resident = new Map<number, true>();

  /** @param capacity - blocks; Infinity for a cache that never forgets. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Blocks held now. */
  get size(): number {
    return this.#resident.size;
  }

  /** Takes in a request's blocks and returns how many of them, from the first on, were resident. */
  take(blocks: readonly number[]): number {
    const resident = this.#resident;
    let hits = 0;
    while (hits < blocks.length && resident.has(blocks[hits]!)) hits++;
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!;
      resident.delete(block);
      resident.set(block, true);
    }
    if (resident.size > this.#capacity) {
      for (const block of resident.keys()) {
        if (resident.size <= this.#capacity) break;
        resident.delete(block);
      }
    }
    return hits;
  }
}
