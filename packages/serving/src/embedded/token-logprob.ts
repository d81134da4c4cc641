import type { Tokenizer, TokenLogprobs } from '@moestack/model';
import type { TokenLogprob, TokenProbability } from '../backend.js';

/** A token with its text and bytes. */
export function tokenProbability(tokenizer: Tokenizer, id: number, logprob: number): TokenProbability {
  return { id, token: tokenizer.tokenText(id), bytes: Array.from(tokenizer.tokenBytes(id)), logprob };
}

/** What a rank reported about a token, in words. */
export function tokenLogprob(tokenizer: Tokenizer, id: number, logprobs: TokenLogprobs): TokenLogprob {
  return { ...tokenProbability(tokenizer, id, logprobs.logprob), top: topOf(tokenizer, logprobs) };
}

/** The alternatives, best first. */
export function topOf(tokenizer: Tokenizer, logprobs: TokenLogprobs): TokenProbability[] {
  return Array.from(logprobs.topTokens, (id, index) =>
    tokenProbability(tokenizer, id, logprobs.topLogprobs[index]!),
  );
}
