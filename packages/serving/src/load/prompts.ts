import { seededRandom } from '../random.js';
import type { LoadTrace } from './trace.js';

/** Common words that most tokenizers know as one token each, with a space before them. */
const WORDS =
  'the of and to in a is that it was for on are with as his they at be this from have or by one had not but what all were when we there can an your which their said if do will each about how up out them then she many some so these would other into has more her two like him see time could no make than first been its who now people my made over did down only way find use may water long little very after words called just where most know'.split(
    ' ',
  );

/** Makes the prompts of a trace: same seed, same prompts, with the prefixes that `hashIds` say are shared. */
export class PromptSource {
  readonly #trace: LoadTrace;
  readonly #seed: number;
  readonly #vocabulary: number;

  constructor(trace: LoadTrace, options: { seed: number; vocabulary: number }) {
    this.#trace = trace;
    this.#seed = options.seed;
    this.#vocabulary = options.vocabulary;
  }

  /** Token ids of a row, exactly as many as the trace says. */
  tokens(row: number): number[] {
    const ids: number[] = [];
    this.#fill(row, (random) => ids.push(1 + Math.floor(random() * (this.#vocabulary - 1))));
    return ids;
  }

  /** A text of one common word a token, so its length in tokens is about right. */
  text(row: number): string {
    const words: string[] = [];
    this.#fill(row, (random) => words.push(WORDS[Math.floor(random() * WORDS.length)]!));
    return words.join(' ');
  }

  #fill(row: number, add: (random: () => number) => void): void {
    const { requests, hashBlockTokens } = this.#trace;
    const { inputTokens, hashIds = [] } = requests[row]!;
    let left = inputTokens;
    for (const id of hashIds) {
      const random = seededRandom(mix(this.#seed, id, 1));
      for (let i = Math.min(left, hashBlockTokens); i > 0; i--) add(random);
      left -= Math.min(left, hashBlockTokens);
    }
    // What no hash names is the row's own.
    const random = seededRandom(mix(this.#seed, row, 2));
    for (; left > 0; left--) add(random);
  }
}

function mix(seed: number, value: number, salt: number): number {
  let h = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul((value | 0) + salt * 0x632be5ab, 0xc2b2ae35);
  h ^= Math.imul(Math.floor(value / 2 ** 32) | 0, 0x27d4eb2f);
  return (h ^ (h >>> 15)) >>> 0;
}
