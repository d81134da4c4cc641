import { hashText } from './hash.js';

/** Longest part of a prompt that is looked at, in blocks: what is shared lies at the beginning. */
const maxPromptBlocks = 512;

/**
 * Remembers which workers have seen which beginnings of prompts: a prefix tree in which a block is named by the hash
 * of itself and all before it. Holds `maxBlocks` blocks at most and forgets the least recently used, of equals the deepest.
 */
export class PrefixIndex {
  readonly #blockCharacters: number;
  readonly #maxBlocks: number;
  /** Workers by block, least recently used first. */
  readonly #workers = new Map<number, Set<string>>();

  constructor(options: { blockCharacters: number; maxBlocks: number }) {
    this.#blockCharacters = options.blockCharacters;
    this.#maxBlocks = options.maxBlocks;
  }

  get size(): number {
    return this.#workers.size;
  }

  /** Names of a prompt's whole blocks. */
  blocks(prompt: string): number[] {
    const count = Math.min(maxPromptBlocks, Math.floor(prompt.length / this.#blockCharacters));
    const blocks: number[] = [];
    let hash = 0;
    for (let index = 0; index < count; index++) {
      const start = index * this.#blockCharacters;
      hash = hashText(prompt, start, start + this.#blockCharacters, hash);
      blocks.push(hash);
    }
    return blocks;
  }

  /** How many of the first blocks each worker has seen without a gap; workers without any are left out. */
  matches(blocks: readonly number[]): Map<string, number> {
    const depth = new Map<string, number>();
    for (let index = 0; index < blocks.length; index++) {
      const workers = this.#workers.get(blocks[index]!);
      if (workers === undefined) break;
      let reached = false;
      for (const worker of workers) {
        if ((depth.get(worker) ?? 0) !== index) continue;
        depth.set(worker, index + 1);
        reached = true;
      }
      if (!reached) break;
    }
    return depth;
  }

  /** A worker gets a prompt of these blocks. */
  add(blocks: readonly number[], worker: string): void {
    // From the last to the first, so that a beginning outlives what follows it.
    for (let index = Math.min(blocks.length, this.#maxBlocks) - 1; index >= 0; index--) {
      const block = blocks[index]!;
      const workers = this.#workers.get(block);
      if (workers === undefined) {
        this.#workers.set(block, new Set([worker]));
        continue;
      }
      workers.add(worker);
      this.#workers.delete(block);
      this.#workers.set(block, workers);
    }
    for (const block of this.#workers.keys()) {
      if (this.#workers.size <= this.#maxBlocks) return;
      this.#workers.delete(block);
    }
  }
}
