import { createHash } from 'node:crypto';

/**
 * Names prompt prefixes by integers: the same number for the same tokens, never one number for two prefixes. Prefixes are
 * told apart by a SHA-256 chain over their blocks, so that nobody can make a prompt that passes for another's.
 *
 * A prefix that was not asked for in a long while gets another number when it comes back, which costs a cache miss.
 */
export class PrefixIds {
  readonly #blockTokens: number;
  readonly #capacity: number;
  /** Oldest first: a map keeps the order of insertion. */
  readonly #ids = new Map<string, number>();
  #next = 0;

  /** @param capacity - most prefixes that are remembered. */
  constructor(blockTokens: number, capacity: number) {
    this.#blockTokens = blockTokens;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#ids.size;
  }

  /**
   * The number of the prefix that ends with each whole block of the prompt.
   *
   * @param owner - prompts of different owners share no number, so that nobody can find out what others have asked.
   */
  idsOf(prompt: Int32Array, owner = ''): Float64Array {
    const blocks = Math.floor(prompt.length / this.#blockTokens);
    const ids = new Float64Array(blocks);
    let previous = owner === '' ? '' : createHash('sha256').update(owner).digest('base64');
    for (let block = 0; block < blocks; block++) {
      const from = prompt.byteOffset + block * this.#blockTokens * 4;
      const bytes = new Uint8Array(prompt.buffer, from, this.#blockTokens * 4);
      previous = createHash('sha256').update(previous, 'latin1').update(bytes).digest('base64');
      ids[block] = this.#idOf(previous);
    }
    return ids;
  }

  #idOf(digest: string): number {
    const id = this.#ids.get(digest) ?? this.#next++;
    this.#ids.delete(digest);
    this.#ids.set(digest, id);
    if (this.#ids.size > this.#capacity) {
      for (const oldest of this.#ids.keys()) {
        this.#ids.delete(oldest);
        break;
      }
    }
    return id;
  }
}
