import { needBetween } from '../scores/checks.js';

/** Two texts that share most of their word sequences. */
export interface NearDuplicate {
  /** Positions in the array that was searched; first < second. */
  readonly first: number;
  readonly second: number;
  /** Jaccard similarity of their sets of shingles. */
  readonly similarity: number;
}

/** Options of {@link nearDuplicates}. */
export interface NearDuplicateOptions {
  /** Least Jaccard similarity; default 0.7. */
  readonly similarity?: number;
}

const SHINGLE_WORDS = 4;
const MAXIMUM_SHINGLES = 4_000;
const HASHES = 96;
/** Rows of a band: a pair of similarity 0.7 shares one of 24 bands with probability 0.998, one of 0.3 with 0.18. */
const ROWS = 4;
/** A bucket of more texts is a boilerplate; comparing neighbours in it is enough to link them. */
const CROWDED = 50;

/** Finds pairs of near-duplicate texts by MinHash with banding; candidates are compared exactly. Identical texts are included. */
export function nearDuplicates(
  texts: readonly string[],
  options: NearDuplicateOptions = {},
): NearDuplicate[] {
  const { similarity = 0.7 } = options;
  needBetween('similarity', similarity, 0, 1.000001);
  const sets = texts.map(shinglesOf);
  const signatures = sets.map(signatureOf);
  const found = new Map<number, NearDuplicate>();
  const compare = (a: number, b: number): void => {
    const [first, second] = a < b ? [a, b] : [b, a];
    const key = first * texts.length + second;
    if (first === second || found.has(key)) return;
    const value = jaccard(sets[first]!, sets[second]!);
    if (value >= similarity) found.set(key, { first, second, similarity: value });
  };
  for (let band = 0; band < HASHES; band += ROWS) {
    const buckets = new Map<string, number[]>();
    signatures.forEach((signature, i) => {
      if (sets[i]!.size === 0) return;
      const key = signature.subarray(band, band + ROWS).join(' ');
      const bucket = buckets.get(key);
      if (bucket === undefined) buckets.set(key, [i]);
      else bucket.push(i);
    });
    for (const bucket of buckets.values()) {
      const reach = bucket.length > CROWDED ? 1 : bucket.length;
      for (let i = 0; i < bucket.length; i++)
        for (let j = i + 1; j <= Math.min(bucket.length - 1, i + reach); j++) compare(bucket[i]!, bucket[j]!);
    }
  }
  return [...found.values()].sort((a, b) => a.first - b.first || a.second - b.second);
}

/** Hashes of word sequences; of the words of a text that is too short for one. */
function shinglesOf(text: string): Set<number> {
  const words = (
    text
      .slice(0, 200_000)
      .toLowerCase()
      .match(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? []
  ).slice(0, MAXIMUM_SHINGLES + SHINGLE_WORDS);
  const shingles = new Set<number>();
  const length = Math.min(SHINGLE_WORDS, words.length);
  if (length === 0) return shingles;
  for (let i = 0; i + length <= words.length && shingles.size < MAXIMUM_SHINGLES; i++)
    shingles.add(hash(words.slice(i, i + length).join(' ')));
  return shingles;
}

function signatureOf(shingles: ReadonlySet<number>): Uint32Array {
  const signature = new Uint32Array(HASHES).fill(0xffffffff);
  for (const shingle of shingles) {
    for (let i = 0; i < HASHES; i++) {
      // A multiplicative hash with an odd factor of its own for each function, mixed by a shift.
      let h = Math.imul(shingle ^ Math.imul(i + 1, 0x9e3779b1), 0x85ebca6b ^ (i << 1));
      h ^= h >>> 15;
      h = Math.imul(h, 0xc2b2ae35);
      h = (h ^ (h >>> 13)) >>> 0;
      if (h < signature[i]!) signature[i] = h;
    }
  }
  return signature;
}

function jaccard(a: ReadonlySet<number>, b: ReadonlySet<number>): number {
  let common = 0;
  for (const item of a) if (b.has(item)) common++;
  const union = a.size + b.size - common;
  return union === 0 ? 1 : common / union;
}

function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}
