/** Lines before or after which Project Gutenberg's own text stands, not the author's. */
const startMarks = /^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG.*$/im;
const endMarks = /^(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG.*|End of (?:the )?Project Gutenberg.*)$/im;

/** UTF-8, or Latin-1 where the bytes are none. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder('latin1').decode(bytes);
  }
}

/** Line ends as `\n`, no white space at their end, at most one empty line in a row, none around the text. */
export function normalizeText(text: string): string {
  return text
    .replaceAll(/\r\n?/g, '\n')
    .replaceAll('\t', ' ')
    .replaceAll(/[^\S\n]+\n/g, '\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim();
}

/** A text without the header and the licence that Project Gutenberg puts around it. */
export function stripGutenberg(text: string): string {
  const start = startMarks.exec(text);
  const body = start === null ? text : text.slice(start.index + start[0].length);
  const end = endMarks.exec(body);
  return end === null ? body : body.slice(0, end.index);
}

/** The title line `[Emma by Jane Austen 1816]` that the NLTK selection begins its texts with. */
export function splitTitle(text: string): { title: string | undefined; body: string } {
  const match = /^\s*\[([^\]\n]{1,200})\][^\S\n]*\n/.exec(text);
  if (match === null) return { title: undefined, body: text };
  return { title: match[1]!.trim(), body: text.slice(match[0].length) };
}
