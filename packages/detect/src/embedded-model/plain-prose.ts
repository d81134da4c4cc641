import { type NormalizationFindings, normalizeText } from '../attacks/normalize-text.js';

/** Longest text that features are taken of; compatibility forms can expand to many times their length. */
const MAXIMUM_CHARACTERS = 8_000;

/** A piece of text without what says where a text was stored rather than who wrote it. */
export interface PlainProse {
  readonly text: string;
  readonly findings: NormalizationFindings;
}

/**
 * Undoes attacks on characters and flattens layout: line breaks, kinds of quotes, dashes and spaces, spaces before punctuation.
 * Data sets differ in these by how they were collected, so that a detector that sees them learns the collection.
 */
export function plainProse(piece: string): PlainProse {
  const { text, findings } = normalizeText(piece);
  const plain = text
    .normalize('NFKC')
    .slice(0, MAXIMUM_CHARACTERS)
    .replace(/[‘’ʼ`´]/g, "'")
    .replace(/[“”„«»]|''/g, '"')
    .replace(/[‐-―−]|--+/g, '-')
    .replace(/\s+/g, ' ')
    .replace(/ ([,.;:!?')\]])/g, '$1')
    .trim();
  return { text: plain, findings };
}

/** Lower-case words, numbers, and every other character by itself. */
export function proseTokens(plain: string): string[] {
  return plain.toLowerCase().match(/[a-z]+(?:'[a-z]+)?|\d+(?:[.,]\d+)*|[^\sa-z\d]/g) ?? [];
}

/** Whether a token is a word in Latin letters. */
export function isWord(token: string): boolean {
  const unit = token.charCodeAt(0);
  return unit >= 0x61 && unit <= 0x7a;
}
