import { mergeRanges, type TextRange } from './text-ranges.js';
import { shingleHash, splitWords, type WordStream } from './word-stream.js';

/**
 * Words in a row that count as the same text: the 13-gram rule that GPT-3's authors decontaminated with
 * (arXiv 2005.14165, appendix C). Shorter passages must match whole.
 */
export const EXCLUSION_WORDS = 13;

/** Finds passages in texts by their words, whatever the white space, case and punctuation around them. */
export class PassageExclusion {
  /** Hashes of word runs, by their length. */
  readonly #runs = new Map<number, Map<number, number[]>>();
  readonly #found: Uint8Array;

  constructor(passages: readonly string[]) {
    this.#found = new Uint8Array(passages.length);
    passages.forEach((passage, index) => {
      const { hashes } = splitWords(passage);
      const size = Math.min(EXCLUSION_WORDS, hashes.length);
      if (size === 0) return;
      const runs = this.#runs.get(size) ?? new Map<number, number[]>();
      this.#runs.set(size, runs);
      for (let from = 0; from + size <= hashes.length; from++) {
        const hash = shingleHash(hashes, from, size);
        const owners = runs.get(hash);
        if (owners === undefined) runs.set(hash, [index]);
        else if (owners.at(-1) !== index) owners.push(index);
      }
    });
  }

  /** Passages that some text so far held at least a run of. */
  get found(): number {
    return this.#found.reduce((sum, value) => sum + value, 0);
  }

  /** Ranges of the text that must not be trained on. */
  find({ hashes, starts, ends }: WordStream): TextRange[] {
    const ranges: TextRange[] = [];
    for (const [size, runs] of this.#runs) {
      for (let from = 0; from + size <= hashes.length; from++) {
        const owners = runs.get(shingleHash(hashes, from, size));
        if (owners === undefined) continue;
        for (const owner of owners) this.#found[owner] = 1;
        ranges.push({ start: starts[from]!, end: ends[from + size - 1]! });
      }
    }
    return mergeRanges(ranges);
  }
}
