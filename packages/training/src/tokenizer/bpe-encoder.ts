import { pairKey } from './pair-queue.js';
import { pretokenize } from './pretokenize.js';
import { type BpeVocabulary, FIRST_BYTE_ID } from './train-bpe.js';

/** Most pieces whose tokens are remembered. */
const cacheSize = 1 << 17;

/** Text to token ids by a {@link BpeVocabulary}; the fast way for whole corpora. */
export class BpeEncoder {
  readonly #ranks = new Map<number, number>();
  readonly #merged: readonly number[];
  readonly #cache = new Map<string, readonly number[]>();
  readonly #utf8 = new TextEncoder();

  constructor(vocabulary: BpeVocabulary) {
    vocabulary.merges.forEach(([left, right], rank) => {
      this.#ranks.set(pairKey(left, right), rank);
    });
    this.#merged = vocabulary.merges.map(([, , merged]) => merged);
  }

  /** Token ids of a text, which is taken as text alone: no part of it becomes the end-of-text token. */
  encode(text: string): number[] {
    const ids: number[] = [];
    for (const piece of pretokenize(text)) {
      let tokens = this.#cache.get(piece);
      if (tokens === undefined) {
        tokens = this.#merge(piece);
        if (this.#cache.size < cacheSize) this.#cache.set(piece, tokens);
      }
      for (const token of tokens) ids.push(token);
    }
    return ids;
  }

  /** The earliest learnt merge first, the leftmost among equals. */
  #merge(piece: string): number[] {
    const tokens = Array.from(this.#utf8.encode(piece), (byte) => byte + FIRST_BYTE_ID);
    for (;;) {
      let best = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < tokens.length; i++) {
        const rank = this.#ranks.get(pairKey(tokens[i]!, tokens[i + 1]!));
        if (rank !== undefined && rank < best) best = rank;
      }
      if (best === Number.POSITIVE_INFINITY) return tokens;
      let to = 0;
      for (let from = 0; from < tokens.length; from++) {
        const next = tokens[from + 1];
        const merges = next !== undefined && this.#ranks.get(pairKey(tokens[from]!, next)) === best;
        tokens[to++] = merges ? this.#merged[best]! : tokens[from]!;
        if (merges) from++;
      }
      tokens.length = to;
    }
  }
}
