import { needBetween } from '../scores/checks.js';
import { type Attack, replaceSome } from './attack.js';
import { lookAlikes } from './homoglyphs.js';
import { britishSpelling } from './spelling.js';

/** Share of the places that an attack changes. */
export interface AttackOptions {
  readonly share?: number;
}

/** Makes an attack on every match of a pattern, changed with probability `share`. */
function patternAttack(
  name: string,
  pattern: RegExp,
  defaultShare: number,
  replacement: (match: string, random: () => number) => string,
): (options?: AttackOptions) => Attack {
  return (options = {}) => {
    const share = options.share ?? defaultShare;
    needBetween('share', share, 0, 1 + Number.EPSILON);
    return {
      name,
      apply: (text, { random }) =>
        replaceSome(text, pattern, share, random, (match) => replacement(match, random)),
    };
  };
}

/** Latin letters become Cyrillic or Greek look-alikes. Default share 1. */
export const homoglyphAttack: (options?: AttackOptions) => Attack = patternAttack(
  'homoglyph',
  /[A-Za-z]/g,
  1,
  (letter, random) => {
    const others = lookAlikes.get(letter);
    return others === undefined ? letter : others[Math.floor(random() * others.length)]!;
  },
);

/** A zero-width space after each character. Default share 1. */
export const zeroWidthAttack: (options?: AttackOptions) => Attack = patternAttack(
  'zero-width',
  /\P{M}\p{M}*/gsu,
  1,
  (character) => `${character}\u200b`,
);

/** Spaces are doubled. Default share 0.2. */
export const whitespaceAttack: (options?: AttackOptions) => Attack = patternAttack(
  'whitespace',
  / /g,
  0.2,
  (space) => space + space,
);

/** The case of words' first letters is swapped. Default share 0.05. */
export const caseAttack: (options?: AttackOptions) => Attack = patternAttack(
  'case',
  /\b\p{L}/gu,
  0.05,
  (letter) => (letter === letter.toUpperCase() ? letter.toLowerCase() : letter.toUpperCase()),
);

/** American spellings become British. Default share 1. */
export const spellingAttack: (options?: AttackOptions) => Attack = patternAttack(
  'alternative spelling',
  /[A-Za-z]+/g,
  1,
  (word) => britishSpelling(word) ?? word,
);

/** Articles are dropped. Default share 0.5. */
export const articleAttack: (options?: AttackOptions) => Attack = patternAttack(
  'article deletion',
  /\b(?:a|an|the) /gi,
  0.5,
  () => '',
);

/** Digits become other digits. Default share 0.5. */
export const numberAttack: (options?: AttackOptions) => Attack = patternAttack(
  'number',
  /\d/g,
  0.5,
  (digit, random) => String((Number(digit) + 1 + Math.floor(random() * 9)) % 10),
);

/** Two neighbouring letters inside a word are swapped. Default share 0.2. */
export const misspellingAttack: (options?: AttackOptions) => Attack = patternAttack(
  'misspelling',
  /[A-Za-z]{4,}/g,
  0.2,
  (word, random) => {
    const at = 1 + Math.floor(random() * (word.length - 3));
    return word.slice(0, at) + word[at + 1]! + word[at]! + word.slice(at + 2);
  },
);

/** A paragraph break after sentences. Default share 0.5. */
export const paragraphAttack: (options?: AttackOptions) => Attack = patternAttack(
  'paragraph',
  /[.!?] /g,
  0.5,
  (end) => `${end[0]}\n\n`,
);

/** Words are replaced by what `synonymOf` says, which returns undefined for words to keep. Default share 0.5. */
export function synonymAttack(
  synonymOf: (word: string) => string | undefined,
  options: AttackOptions = {},
): Attack {
  return patternAttack('synonym', /\p{L}+/gu, 0.5, (word) => synonymOf(word) ?? word)(options);
}

/** Any rewriting of a whole text, such as by a language model. */
export function paraphraseAttack(
  paraphrase: (text: string, options: { readonly signal?: AbortSignal }) => Promise<string>,
): Attack {
  return { name: 'paraphrase', apply: (text, options) => paraphrase(text, options) };
}

/** All attacks that need nothing else, with their default shares (those of the RAID benchmark where it has them). */
export function standardAttacks(): Attack[] {
  return [
    homoglyphAttack(),
    zeroWidthAttack(),
    whitespaceAttack(),
    caseAttack(),
    spellingAttack(),
    articleAttack(),
    numberAttack(),
    misspellingAttack(),
    paragraphAttack(),
  ];
}
