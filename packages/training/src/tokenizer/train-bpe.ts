import { TrainingError } from '../errors.js';
import { PairQueue, pairKey } from './pair-queue.js';
import { pretokenize } from './pretokenize.js';

/** Id of the first byte token; 0 is the end-of-text token. */
export const FIRST_BYTE_ID = 1;
/** Id of the end-of-text token. */
export const END_OF_TEXT_ID = 0;
/** End-of-text and the bytes. */
export const SMALLEST_VOCABULARY = 257;

/** A byte-level BPE vocabulary: token 0 ends a text, 1 to 256 are the bytes, merges add the others. */
export interface BpeVocabulary {
  /** In the order they were learnt. Two of them may give the same token: `ab` + `c` and `a` + `bc`. */
  readonly merges: readonly BpeMerge[];
  /** Bytes of each token; none for the end of a text. */
  readonly bytes: readonly Uint8Array[];
}

/** Ids of two tokens, and of the one they become. */
export type BpeMerge = readonly [left: number, right: number, merged: number];

/** Options of {@link trainBpe}. */
export interface TrainBpeOptions {
  readonly vocabularySize: number;
  /** Called after merges were found. */
  readonly onProgress?: (progress: { done: number; total: number }) => void;
  readonly signal?: AbortSignal;
}

/**
 * Learns byte-level BPE merges (Sennrich et al. 2016): again and again the most frequent pair becomes a token. Pair
 * counts are kept up to date, not counted anew; among equal counts the pair with the smaller ids wins, so that the
 * same texts give the same vocabulary.
 *
 * @returns a smaller vocabulary than asked for where every piece has become one token.
 */
export function trainBpe(texts: Iterable<string>, options: TrainBpeOptions): BpeVocabulary {
  const { vocabularySize, onProgress, signal } = options;
  if (!Number.isInteger(vocabularySize) || vocabularySize < SMALLEST_VOCABULARY || vocabularySize > 65_536) {
    throw new TrainingError({
      code: 'training/bad-tokenizer',
      message: `expected a vocabulary of ${SMALLEST_VOCABULARY} to 65536 tokens, got ${vocabularySize}`,
      value: vocabularySize,
      remedy: 'ask for 1024 or 2048 for small models',
    });
  }
  const { words, frequencies } = countWords(texts);
  const counts = new Map<number, number>();
  /** Words that held a pair at some time; maybe not any more. */
  const places = new Map<number, Set<number>>();
  words.forEach((word, index) => {
    for (let i = 0; i + 1 < word.length; i++) {
      const key = pairKey(word[i]!, word[i + 1]!);
      counts.set(key, (counts.get(key) ?? 0) + frequencies[index]!);
      addPlace(places, key, index);
    }
  });
  const queue = new PairQueue();
  for (const [key, count] of counts) queue.push(key, count);

  const bytes = byteTokens();
  const idOf = new Map(bytes.map((token, id) => [token.join(), id]));
  const merges: BpeMerge[] = [];
  const total = vocabularySize - SMALLEST_VOCABULARY;
  const changed = new Set<number>();
  while (bytes.length < vocabularySize) {
    signal?.throwIfAborted();
    const best = queue.pop((key) => counts.get(key) ?? 0);
    if (best === undefined) break;
    const left = Math.floor(best.key / 65_536);
    const right = best.key % 65_536;
    const joined = Uint8Array.from([...bytes[left]!, ...bytes[right]!]);
    const merged = idOf.get(joined.join()) ?? bytes.length;
    changed.clear();
    const change = (key: number, by: number, index: number): void => {
      counts.set(key, (counts.get(key) ?? 0) + by);
      changed.add(key);
      if (by > 0) addPlace(places, key, index);
    };
    for (const index of places.get(best.key) ?? [])
      mergeInWord(words[index]!, left, right, merged, frequencies[index]!, index, change);
    counts.delete(best.key);
    places.delete(best.key);
    changed.delete(best.key);
    for (const key of changed) {
      const count = counts.get(key)!;
      if (count > 0) queue.push(key, count);
      else counts.delete(key);
    }
    merges.push([left, right, merged]);
    if (merged < bytes.length) continue;
    idOf.set(joined.join(), merged);
    bytes.push(joined);
    onProgress?.({ done: bytes.length - SMALLEST_VOCABULARY, total });
  }
  return { merges, bytes };
}

/** Bytes of the end-of-text token (none) and of the byte tokens. */
export function byteTokens(): Uint8Array[] {
  return [new Uint8Array(0), ...Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte))];
}

function countWords(texts: Iterable<string>): { words: number[][]; frequencies: number[] } {
  const frequency = new Map<string, number>();
  for (const text of texts)
    for (const piece of pretokenize(text)) frequency.set(piece, (frequency.get(piece) ?? 0) + 1);
  const encoder = new TextEncoder();
  const words = [...frequency.keys()].map((piece) =>
    Array.from(encoder.encode(piece), (byte) => byte + FIRST_BYTE_ID),
  );
  return { words, frequencies: [...frequency.values()] };
}

function addPlace(places: Map<number, Set<number>>, key: number, index: number): void {
  const set = places.get(key);
  if (set === undefined) places.set(key, new Set([index]));
  else set.add(index);
}

/** Merges a pair within a word, in place, from left to right, and tells how the counts of its neighbours change. */
function mergeInWord(
  word: number[],
  left: number,
  right: number,
  merged: number,
  frequency: number,
  index: number,
  change: (key: number, by: number, index: number) => void,
): void {
  let to = 0;
  for (let from = 0; from < word.length; from++) {
    const token = word[from]!;
    if (token !== left || word[from + 1] !== right) {
      word[to++] = token;
      continue;
    }
    if (to > 0) {
      const previous = word[to - 1]!;
      change(pairKey(previous, left), -frequency, index);
      change(pairKey(previous, merged), frequency, index);
    }
    const next = word[from + 2];
    if (next !== undefined) {
      change(pairKey(right, next), -frequency, index);
      change(pairKey(merged, next), frequency, index);
    }
    word[to++] = merged;
    from++;
  }
  word.length = to;
}
