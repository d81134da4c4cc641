import { BlockIndex } from './block-index.js';
import { SlotList } from './slot-list.js';

const NOTHING = -1;

/**
 * The blocks of one stage. A block is free, held by one or more sequences, or idle: held by none, but with the prefix of
 * a past prompt in it. Idle blocks count as free; they are given up, least recently used first, when no other is left.
 */
export class BlockPool {
  readonly total: number;
  /** Idle blocks whose prefix was given up for another. */
  evictions = 0;
  /** Of the last {@link BlockPool.find}: how many of the blocks found are idle. */
  foundIdle = 0;
  readonly #free: Int32Array;
  #freeCount: number;
  /** Sequences that hold each block; empty without a cache, when one holder is all there can be. */
  readonly #holders: Int32Array;
  /** The prefix that each block is known for, or {@link NOTHING}. */
  readonly #keys: Float64Array;
  readonly #idle: SlotList;
  readonly #index: BlockIndex | undefined;

  constructor(total: number, isCaching: boolean) {
    this.total = total;
    // Filled so that the lowest ids are taken first.
    this.#free = Int32Array.from({ length: total }, (_, i) => total - 1 - i);
    this.#freeCount = total;
    this.#holders = new Int32Array(isCaching ? total : 0);
    this.#keys = new Float64Array(isCaching ? total : 0).fill(NOTHING);
    this.#idle = new SlotList(isCaching ? total : 0);
    this.#index = isCaching ? new BlockIndex(total) : undefined;
  }

  /** Blocks that can be taken, idle ones included. */
  get free(): number {
    return this.#freeCount + this.#idle.size;
  }

  /** Idle blocks. */
  get idle(): number {
    return this.#idle.size;
  }

  /** Takes a block; there must be a free one. */
  take(): number {
    if (this.#index === undefined) return this.#free[--this.#freeCount]!;
    let block: number;
    if (this.#freeCount > 0) block = this.#free[--this.#freeCount]!;
    else {
      block = this.#idle.head;
      this.#idle.remove(block);
      this.#index.remove(this.#keys[block]!);
      this.#keys[block] = NOTHING;
      this.evictions++;
    }
    this.#holders[block] = 1;
    return block;
  }

  /** Gives back a block, or one hold on it. */
  give(block: number): void {
    if (this.#index !== undefined) {
      if (--this.#holders[block]! > 0) return;
      if (this.#keys[block] !== NOTHING) {
        this.#idle.append(block);
        return;
      }
    }
    this.#free[this.#freeCount++] = block;
  }

  /** How many of the first `most` prefixes have blocks, from the first on without a gap. */
  find(prefix: Float64Array, most: number): number {
    const index = this.#index;
    this.foundIdle = 0;
    if (index === undefined) return 0;
    let found = 0;
    for (; found < most; found++) {
      const block = index.get(prefix[found]!);
      if (block < 0) break;
      if (this.#holders[block] === 0) this.foundIdle++;
    }
    return found;
  }

  /** Holds the block of a prefix that {@link BlockPool.find} has found. */
  hold(key: number): number {
    const block = this.#index!.get(key);
    if (this.#holders[block]! === 0) this.#idle.remove(block);
    this.#holders[block]! += 1;
    return block;
  }

  /** Makes a held block, now full, known for its prefix; if another block is already, nothing changes. */
  remember(block: number, key: number): void {
    const index = this.#index;
    if (index === undefined || this.#keys[block] !== NOTHING || index.get(key) >= 0) return;
    this.#keys[block] = key;
    index.add(key, block);
  }

  /** Takes a held block for its prefix no more: what is in it is not to be trusted. */
  distrust(block: number): void {
    const index = this.#index;
    if (index === undefined || this.#keys[block] === NOTHING) return;
    index.remove(this.#keys[block]!);
    this.#keys[block] = NOTHING;
  }

  /** Forgets every prefix. */
  clear(): void {
    for (let block = this.#idle.head; block >= 0; block = this.#idle.head) {
      this.#idle.remove(block);
      this.#free[this.#freeCount++] = block;
    }
    for (let block = 0; block < this.#keys.length; block++) this.distrust(block);
  }
}
