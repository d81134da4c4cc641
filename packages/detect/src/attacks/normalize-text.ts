import { latinOf } from './homoglyphs.js';

/** What {@link normalizeText} changed; counts of characters. */
export interface NormalizationFindings {
  /** Zero-width and other invisible characters that were removed. */
  readonly invisible: number;
  /** Controls of writing direction that were removed. */
  readonly directional: number;
  /** Look-alikes in words that also hold Latin letters, or in words made of look-alikes only, that became Latin. */
  readonly homoglyphs: number;
  /** Unusual spaces that became plain ones. */
  readonly spaces: number;
  /** Lone surrogates that became U+FFFD. */
  readonly surrogates: number;
}

/** Result of {@link normalizeText}. */
export interface NormalizedText {
  readonly text: string;
  readonly findings: NormalizationFindings;
  /** Whether anything but spaces was changed: a hint of tampering, never proof (joiners are legitimate in many scripts). */
  readonly suspicious: boolean;
}

const INVISIBLE = /\u034f|[\u00ad\u180e\u200b-\u200d\u2060-\u2064\ufeff]|\udb40[\udc00-\udc7f]/g;
const DIRECTIONAL = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const SPACES = /[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g;
const SURROGATES = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const WORD = /\p{L}+/gu;
/** Joiners shape these scripts and emoji: they are kept right after such characters. */
const JOINING =
  /[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Sinhala}\p{Script=Malayalam}\p{Script=Khmer}\p{Extended_Pictographic}]|\ufe0f/u;

/**
 * Undoes what attacks on the level of characters do, before a text is tokenised, and says what it found.
 *
 * Look-alikes are mapped in words that mix them with Latin letters, and in words of look-alikes alone when the text is mostly
 * Latin; other Cyrillic and Greek words stay.
 */
export function normalizeText(text: string): NormalizedText {
  const counts = { invisible: 0, directional: 0, homoglyphs: 0, spaces: 0, surrogates: 0 };
  const count = (name: keyof typeof counts, replacement: string) => (): string => {
    counts[name]++;
    return replacement;
  };
  let result = text.replace(SURROGATES, count('surrogates', '\ufffd'));
  const remove = count('invisible', '');
  result = result.replace(INVISIBLE, (match: string, offset: number, whole: string) => {
    const joiner = match === '\u200c' || match === '\u200d';
    return joiner && JOINING.test(whole.slice(Math.max(offset - 2, 0), offset)) ? match : remove();
  });
  result = result.replace(DIRECTIONAL, count('directional', ''));
  result = result.replace(SPACES, count('spaces', ' '));

  // Letters of a real Cyrillic or Greek text have no Latin twin in two cases out of three.
  let latin = 0;
  let twins = 0;
  let foreign = 0;
  for (let i = 0; i < result.length; i++) {
    const unit = result.charCodeAt(i);
    if (unit < 0x80) {
      const lower = unit | 0x20;
      if (lower >= 0x61 && lower <= 0x7a) latin++;
    } else if (unit >= 0x370 && unit < 0x530) {
      // Greek and Cyrillic blocks.
      if (latinOf.has(result[i]!)) twins++;
      else foreign++;
    }
  }
  const mostlyLatin = latin + twins > 10 * foreign;
  if (twins > 0) {
    result = result.replace(WORD, (word) => {
      const letters = [...word];
      const replaced = letters.filter((letter) => latinOf.has(letter)).length;
      if (replaced === 0) return word;
      const mixed = letters.some((letter) => /[A-Za-z]/.test(letter));
      if (!mixed && !(mostlyLatin && replaced === letters.length)) return word;
      counts.homoglyphs += replaced;
      return letters.map((letter) => latinOf.get(letter) ?? letter).join('');
    });
  }
  const { spaces: _, ...tampering } = counts;
  return {
    text: result,
    findings: counts,
    suspicious: Object.values(tampering).some((value) => value > 0),
  };
}
