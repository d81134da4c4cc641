import { mix, shingleHash, type WordStream } from './word-stream.js';

/** Sizes of {@link findNearDuplicates}. */
export interface NearDuplicateOptions {
  /** Words of a window; default 64. */
  readonly windowWords?: number;
  /** Words from one window to the next; default 32, so that copies that start anywhere share most of a window. */
  readonly strideWords?: number;
  /** Words of a shingle; default 5. */
  readonly shingleWords?: number;
  /** Smallest Jaccard similarity of the shingle sets of near-duplicates; default 0.5. */
  readonly threshold?: number;
}

/** Words `from` to `to`, exclusive, of a text. */
export interface WordWindow {
  readonly text: number;
  readonly from: number;
  readonly to: number;
}

/** Two windows that are near-duplicates; `first` is the earlier one. */
export interface NearDuplicate {
  readonly first: WordWindow;
  readonly second: WordWindow;
  readonly similarity: number;
}

const bands = 16;
const rowsPerBand = 2;
/** Longest chain of one band that is compared: formulas that everybody repeats would cost their square otherwise. */
const longestChain = 64;

/**
 * Near-duplicate windows of different texts, by MinHash over word shingles: 16 bands of 2 rows find candidates
 * (Broder 1997; a pair of similarity 0.5 is missed with probability 0.75^16 = 1 %), the exact Jaccard similarity of
 * the shingle sets decides.
 */
export function findNearDuplicates(
  texts: readonly WordStream[],
  options: NearDuplicateOptions = {},
): NearDuplicate[] {
  const { windowWords = 64, strideWords = 32, shingleWords = 5, threshold = 0.5 } = options;
  const windows = windowsOf(texts, windowWords, strideWords, shingleWords);
  const shingles = windows.map(({ text, from, to }) =>
    shingleSet(texts[text]!.hashes, from, to, shingleWords),
  );
  const signatures = new Uint32Array(windows.length * bands * rowsPerBand);
  for (const [index, set] of shingles.entries()) sign(set, signatures, index * bands * rowsPerBand);

  const duplicates: NearDuplicate[] = [];
  const compared = new Set<number>();
  for (let band = 0; band < bands; band++) {
    const chains = new Map<number, number[]>();
    for (let second = 0; second < windows.length; second++) {
      const at = (second * bands + band) * rowsPerBand;
      const key = mix(Math.imul(signatures[at]!, 0x9e3779b1) ^ signatures[at + 1]!);
      const chain = chains.get(key);
      if (chain === undefined) {
        chains.set(key, [second]);
        continue;
      }
      for (const first of chain) {
        if (windows[first]!.text === windows[second]!.text) continue;
        const pair = first * windows.length + second;
        if (compared.has(pair)) continue;
        compared.add(pair);
        const similarity = jaccard(shingles[first]!, shingles[second]!);
        if (similarity >= threshold)
          duplicates.push({ first: windows[first]!, second: windows[second]!, similarity });
      }
      if (chain.length < longestChain) chain.push(second);
    }
  }
  return duplicates;
}

function windowsOf(
  texts: readonly WordStream[],
  size: number,
  stride: number,
  shingleWords: number,
): WordWindow[] {
  const windows: WordWindow[] = [];
  texts.forEach(({ hashes }, text) => {
    for (let from = 0; from < hashes.length; from += stride) {
      const to = Math.min(from + size, hashes.length);
      if (to - from >= shingleWords) windows.push({ text, from, to });
      if (to === hashes.length) break;
    }
  });
  return windows;
}

function shingleSet(hashes: Uint32Array, from: number, to: number, size: number): Uint32Array {
  const all = new Uint32Array(to - from - size + 1);
  for (let i = 0; i < all.length; i++) all[i] = shingleHash(hashes, from + i, size);
  all.sort();
  let kept = 0;
  for (let i = 0; i < all.length; i++) if (i === 0 || all[i] !== all[i - 1]) all[kept++] = all[i]!;
  return all.slice(0, kept);
}

/** Smallest value of each of the hash functions over the set. */
function sign(set: Uint32Array, out: Uint32Array, at: number): void {
  for (let row = 0; row < bands * rowsPerBand; row++) {
    const seed = mix(row + 1);
    let least = 0xffffffff;
    for (let i = 0; i < set.length; i++) {
      const value = mix(set[i]! ^ seed);
      if (value < least) least = value;
    }
    out[at + row] = least;
  }
}

function jaccard(a: Uint32Array, b: Uint32Array): number {
  let [i, j, shared] = [0, 0, 0];
  while (i < a.length && j < b.length) {
    const [left, right] = [a[i]!, b[j]!];
    if (left === right) shared++;
    if (left <= right) i++;
    if (right <= left) j++;
  }
  return shared / (a.length + b.length - shared);
}
