import { functionWords } from './function-words.js';
import { isWord, proseTokens } from './plain-prose.js';

/** Buckets that word sequences are hashed to. */
export const GRAM_BUCKETS: number = 2 ** 16;

/** Kinds of word sequences: `grammar` keeps function words and the endings of others, `words` keeps words. */
export type GramKind = 'grammar' | 'words';

/** How often each bucket occurs in a text. */
export function hashedGrams(plain: string, kind: GramKind): Map<number, number> {
  const tokens = proseTokens(plain).map((token) => (/^\d/.test(token) ? '0' : token));
  const counts = new Map<number, number>();
  const add = (gram: string): void => {
    const bucket = hash(gram) % GRAM_BUCKETS;
    counts.set(bucket, (counts.get(bucket) ?? 0) + 1);
  };
  if (kind === 'words') {
    for (const token of tokens) add(`w${token}`);
    for (let i = 1; i < tokens.length; i++) add(`b${tokens[i - 1]} ${tokens[i]}`);
    return counts;
  }
  const classes = tokens.map((token) =>
    functionWords.has(token) || !isWord(token) ? token : token.length > 4 ? `*${token.slice(-2)}` : '*',
  );
  for (let i = 1; i < classes.length; i++) add(`e${classes[i - 1]} ${classes[i]}`);
  for (let i = 2; i < classes.length; i++) add(`d${classes[i - 2]} ${classes[i - 1]} ${classes[i]}`);
  return counts;
}

/** FNV-1a over UTF-16 units, mixed once more so that the low bits are usable. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    h ^= text.charCodeAt(i);
    h = Math.imul(h, 0x01000193);
  }
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 12;
  return h >>> 0;
}
