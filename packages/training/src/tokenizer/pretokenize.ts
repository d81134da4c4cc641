/**
 * Pieces that merges never cross, in the syntax that JavaScript and the Hugging Face libraries share: words and numbers
 * with one space before them, marks, line ends, other white space. Every character belongs to one.
 */
export const PRETOKEN_PATTERN: string =
  ' ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\n+|[^\\S\\n]+(?!\\S)|[^\\S\\n]';

/** A text in pieces; joined they are the text. */
export function pretokenize(text: string): string[] {
  return text.match(new RegExp(PRETOKEN_PATTERN, 'gu')) ?? [];
}
