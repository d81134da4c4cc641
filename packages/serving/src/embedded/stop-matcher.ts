/** One stop string with its automaton (Knuth, Morris, Pratt 1977). */
interface Pattern {
  readonly text: string;
  /** `fallback[i]`: length of the longest proper border of the first i characters. */
  readonly fallback: Int32Array;
  /** How many characters of the pattern the text ends in. */
  matched: number;
}

/**
 * Finds the first stop string in a text that comes in pieces, and holds back what may be the beginning of one. Takes
 * constant time per character, whatever the stop strings are.
 */
export class StopMatcher {
  readonly #patterns: readonly Pattern[];
  #held = '';

  constructor(stop: readonly string[]) {
    this.#patterns = stop.map((text) => ({ text, fallback: fallbacks(text), matched: 0 }));
  }

  /**
   * Takes the next piece.
   *
   * @returns the text that certainly lies before any stop string, and the stop string if one ends here.
   */
  push(piece: string): { text: string; stop?: string } {
    const text = this.#held + piece;
    for (let at = this.#held.length; at < text.length; at++) {
      const found = this.#advance(text.charCodeAt(at));
      if (found === undefined) continue;
      this.#held = '';
      return { text: text.slice(0, at + 1 - found.length), stop: found };
    }
    let hold = 0;
    for (const pattern of this.#patterns) hold = Math.max(hold, pattern.matched);
    this.#held = text.slice(text.length - hold);
    return { text: text.slice(0, text.length - hold) };
  }

  /** The rest, once the text is over. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  #advance(code: number): string | undefined {
    let longest: string | undefined;
    for (const pattern of this.#patterns) {
      let { matched } = pattern;
      while (matched > 0 && pattern.text.charCodeAt(matched) !== code) matched = pattern.fallback[matched]!;
      if (pattern.text.charCodeAt(matched) === code) matched += 1;
      pattern.matched = matched;
      if (matched < pattern.text.length) continue;
      if (longest === undefined || pattern.text.length > longest.length) longest = pattern.text;
    }
    return longest;
  }
}

function fallbacks(text: string): Int32Array {
  const table = new Int32Array(text.length + 1);
  let border = 0;
  for (let i = 1; i < text.length; i++) {
    while (border > 0 && text.charCodeAt(border) !== text.charCodeAt(i)) border = table[border]!;
    if (text.charCodeAt(border) === text.charCodeAt(i)) border += 1;
    table[i + 1] = border;
  }
  return table;
}
