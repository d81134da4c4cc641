import { countWords, isSpace, type TextWindow } from '../embedded-model/text-windows.js';

/**
 * Cuts a text into units of whole sentences or lines with at least `words` words each (the last may have fewer), in order, that
 * cover everything but white space between them.
 *
 * @param longest - characters after which a unit ends at the next white space
 */
export function textUnits(text: string, words: number, longest: number = 4_000): TextWindow[] {
  const units: TextWindow[] = [];
  let start = skipSpace(text, 0);
  let count = 0;
  let at = start;
  while (at < text.length) {
    const wordStart = at;
    while (at < text.length && !isSpace(text.charCodeAt(at))) at++;
    count++;
    const next = skipSpace(text, at);
    const sentenceEnds = /[.!?][)"'\]’”]*$/.test(text.slice(Math.max(wordStart, at - 8), at));
    const lineEnds = text.slice(at, Math.min(next, at + 200)).includes('\n');
    // Text without sentences still ends somewhere.
    const overdue = count >= 3 * words || at - start > longest;
    if ((count >= words && (sentenceEnds || lineEnds)) || overdue) {
      units.push({ start, end: at, words: count });
      start = next;
      count = 0;
    }
    at = next;
  }
  if (count === 0) return units;
  const last = units[units.length - 1];
  if (last !== undefined && count < words / 2) {
    units[units.length - 1] = { start: last.start, end: trimEnd(text), words: last.words + count };
  } else units.push({ start, end: trimEnd(text), words: countWords(text.slice(start)) });
  return units;
}

function skipSpace(text: string, at: number): number {
  while (at < text.length && isSpace(text.charCodeAt(at))) at++;
  return at;
}

function trimEnd(text: string): number {
  let end = text.length;
  while (end > 0 && isSpace(text.charCodeAt(end - 1))) end--;
  return end;
}
