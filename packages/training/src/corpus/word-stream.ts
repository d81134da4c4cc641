/** The words of a text: lower-cased letters, digits and apostrophes, hashed, with where they stand. */
export interface WordStream {
  readonly hashes: Uint32Array;
  /** First UTF-16 unit of each word. */
  readonly starts: Int32Array;
  /** One past the last UTF-16 unit of each word. */
  readonly ends: Int32Array;
}

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** Splits a text into words, so that texts compare alike whatever their white space, case and punctuation. */
export function splitWords(text: string): WordStream {
  const hashes: number[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  const { length } = text;
  let at = 0;
  while (at < length) {
    if (!isWordUnit(text.charCodeAt(at))) {
      at++;
      continue;
    }
    const start = at;
    let hash = offsetBasis;
    while (at < length) {
      let unit = text.charCodeAt(at);
      if (!isWordUnit(unit)) break;
      if (unit >= 0x41 && unit <= 0x5a) unit += 0x20;
      hash = Math.imul(hash ^ unit, prime);
      at++;
    }
    hashes.push(mix(hash));
    starts.push(start);
    ends.push(at);
  }
  return {
    hashes: Uint32Array.from(hashes),
    starts: Int32Array.from(starts),
    ends: Int32Array.from(ends),
  };
}

/** Hash of the `size` words from `from` on; order counts. */
export function shingleHash(hashes: Uint32Array, from: number, size: number): number {
  let hash = offsetBasis;
  for (let i = 0; i < size; i++) hash = mix(Math.imul(hash, 31) ^ hashes[from + i]!);
  return hash;
}

/** The finalizer of MurmurHash3 (public domain): every bit of the input changes half of the output. */
export function mix(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function isWordUnit(unit: number): boolean {
  return (
    (unit >= 0x61 && unit <= 0x7a) ||
    (unit >= 0x41 && unit <= 0x5a) ||
    (unit >= 0x30 && unit <= 0x39) ||
    unit === 0x27 ||
    // Letters beyond ASCII, but not general punctuation such as curly quotes and dashes.
    (unit >= 0xc0 && !(unit >= 0x2000 && unit <= 0x206f))
  );
}
