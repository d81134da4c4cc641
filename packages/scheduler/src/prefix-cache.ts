/**
 * Names of the prompt blocks that a cache holds, the least recently used leaving first.
 *
 * A hit is the longest prefix of a request's blocks that is resident. Then every block of the request is touched from the last to the first,
 * so that the first, which most requests share, is the most recent; missing ones come in, and the least recent go out until the capacity holds.
 */
export class PrefixCache {
  readonly #capacityBlocks: number;
  /** A set keeps the order of insertion: the least recent comes first. */
  readonly #resident = new Set<number>();
  #evictions = 0;

  /** @param capacityBlocks - Infinity for a cache that never forgets. */
  constructor(capacityBlocks: number) {
    this.#capacityBlocks = capacityBlocks;
  }

  /** Blocks held now. */
  get residentBlocks(): number {
    return this.#resident.size;
  }

  /** Blocks that had to leave so far. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Takes in the blocks of a request and returns how many of them, from the first on, were resident. */
  take(blocks: ArrayLike<number>): number {
    const resident = this.#resident;
    let hits = 0;
    while (hits < blocks.length && resident.has(blocks[hits]!)) hits++;
    for (let i = blocks.length - 1; i >= 0; i--) {
      resident.delete(blocks[i]!);
      resident.add(blocks[i]!);
    }
    for (const block of resident) {
      if (resident.size <= this.#capacityBlocks) break;
      resident.delete(block);
      this.#evictions++;
    }
    return hits;
  }
}
