import { needInteger } from '../scores/checks.js';
import { DEFAULT_MAX_TOKENS, type ScoreOptions } from './language-model.js';

/** No tokenizer makes tokens longer than this on average over ordinary text. */
const CHARACTERS_PER_TOKEN = 64;

/** The checked number of tokens to score. */
export function maxTokensOf(options: ScoreOptions): number {
  const maxTokens = options.maxTokens ?? DEFAULT_MAX_TOKENS;
  needInteger('maxTokens', maxTokens, 2, 1 << 22);
  return maxTokens;
}

/**
 * The part of a text that can matter to its first tokens, so that a tokenizer never sees megabytes; lone surrogates, which no
 * tokenizer and no JSON body can carry, become U+FFFD.
 */
export function prepareText(text: string, maxTokens: number): string {
  let end = Math.min(text.length, maxTokens * CHARACTERS_PER_TOKEN);
  const unit = text.charCodeAt(end - 1);
  // Not in the middle of a surrogate pair.
  if (end < text.length && unit >= 0xd800 && unit <= 0xdbff) end--;
  const bytes = new TextEncoder().encode(text.slice(0, end));
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
}
