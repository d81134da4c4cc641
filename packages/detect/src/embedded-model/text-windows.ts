/** A piece of a text; offsets count UTF-16 units of the original. */
export interface TextWindow {
  readonly start: number;
  readonly end: number;
  readonly words: number;
}

/** Options of {@link textWindows}. */
export interface WindowOptions {
  /** Words that a window should have; default 150. Windows have 2/3 to 3/2 of it, a shorter text is one window. */
  readonly words?: number;
  /** Largest number of windows; a longer text is sampled evenly. Default 64. */
  readonly maximum?: number;
}

const WORDS = 150;
const MAXIMUM = 64;
/** No window is longer, whatever it calls a word. */
const MAXIMUM_CHARACTERS = 6_000;

/** Number of words (runs without white space). Linear in the length, without allocation. */
export function countWords(text: string): number {
  let words = 0;
  let inside = false;
  for (let i = 0; i < text.length; i++) {
    const space = isSpace(text.charCodeAt(i));
    if (!space && !inside) words++;
    inside = !space;
  }
  return words;
}

/** Cuts a text into windows of about equal numbers of words. */
export function textWindows(text: string, options: WindowOptions = {}): TextWindow[] {
  const { words = WORDS, maximum = MAXIMUM } = options;
  const total = countWords(text);
  if (total === 0) return [];
  const pieces = Math.max(1, Math.round(total / words));
  const chosen = Math.min(pieces, maximum);
  const windows: TextWindow[] = [];
  let cursor = new WordCursor(text);
  for (let i = 0; i < chosen; i++) {
    const piece = chosen === 1 ? 0 : Math.floor((i * (pieces - 1)) / (chosen - 1));
    const first = Math.floor((piece * total) / pieces);
    const last = Math.floor(((piece + 1) * total) / pieces);
    cursor = cursor.skipTo(first);
    const start = cursor.nextStart();
    cursor = cursor.skipTo(last);
    windows.push({ start, end: Math.min(cursor.end, start + MAXIMUM_CHARACTERS), words: last - first });
  }
  return windows;
}

/** Walks over words once. */
class WordCursor {
  readonly #text: string;
  #word = 0;
  /** End of the last word that was passed. */
  end = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Passes words until `word` of them are behind. */
  skipTo(word: number): this {
    while (this.#word < word && this.end < this.#text.length) {
      let at = this.nextStart();
      while (at < this.#text.length && !isSpace(this.#text.charCodeAt(at))) at++;
      this.end = at;
      this.#word++;
    }
    return this;
  }

  nextStart(): number {
    let at = this.end;
    while (at < this.#text.length && isSpace(this.#text.charCodeAt(at))) at++;
    return at;
  }
}

/** White space as `\s` has it. */
export function isSpace(unit: number): boolean {
  if (unit <= 0x20) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d);
  if (unit < 0xa0) return false;
  return (
    unit === 0xa0 ||
    unit === 0x1680 ||
    (unit >= 0x2000 && unit <= 0x200a) ||
    unit === 0x2028 ||
    unit === 0x2029 ||
    unit === 0x202f ||
    unit === 0x205f ||
    unit === 0x3000 ||
    unit === 0xfeff
  );
}
