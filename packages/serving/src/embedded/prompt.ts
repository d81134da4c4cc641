import { ModelError, type Tokenizer } from '@moestack/model';
import type { Prompt } from '../backend.js';
import { badRequest, promptTooLong } from '../errors.js';

/** What limits a prompt. */
export interface PromptLimits {
  readonly contextTokens: number;
  readonly vocabulary: number;
  /** Most UTF-16 code units that one token stands for; see {@link longestToken}. */
  readonly longestToken: number;
}

/** Tokenizers that normalise may shorten a text before they cut it; none halves it. */
const normalisationSlack = 2;

/** The request field that a prompt came from. */
export function promptParam(prompt: Prompt): 'messages' | 'prompt' {
  return prompt.type === 'chat' ? 'messages' : 'prompt';
}

/** Length of the longest entry of a vocabulary; no code unit takes less than a byte. */
export function longestToken(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let id = 0; id < tokenizer.vocabularySize; id++) {
    longest = Math.max(longest, tokenizer.tokenBytes(id).length);
  }
  return longest;
}

/**
 * The token ids of a prompt.
 *
 * @throws {@link ServingError} with status 400.
 */
export function encodePrompt(prompt: Prompt, tokenizer: Tokenizer, limits: PromptLimits): Int32Array {
  const param = promptParam(prompt);
  const ids = toIds(prompt, tokenizer, limits);
  if (ids.length > limits.contextTokens) throw promptTooLong(ids.length, limits.contextTokens, param);
  if (ids.length > 0) return ids;
  throw badRequest({
    param,
    message: `${param}: expected at least one token, got none`,
    remedy: 'send some text: this model has no token to begin with',
    value: 0,
  });
}

function toIds(prompt: Prompt, tokenizer: Tokenizer, limits: PromptLimits): Int32Array {
  if (prompt.type === 'tokens') return checkIds(prompt.ids, limits.vocabulary);
  if (prompt.type === 'text') return tokenizer.encode(checkLength(prompt.text, 'prompt', limits));
  let text: string;
  try {
    text = tokenizer.applyChatTemplate(prompt.messages);
  } catch (cause) {
    if (!ModelError.isInstance(cause)) throw cause;
    throw badRequest({ param: 'messages', message: `messages: ${cause.message}`, remedy: cause.remedy });
  }
  return tokenizer.encode(checkLength(text, 'messages', limits), { addSpecialTokens: false });
}

/** Refuses what cannot fit however it is cut, before time is spent on cutting it. */
function checkLength(text: string, param: string, limits: PromptLimits): string {
  const leastTokens = Math.ceil(text.length / (limits.longestToken * normalisationSlack));
  if (leastTokens > limits.contextTokens) throw promptTooLong(leastTokens, limits.contextTokens, param, true);
  return text;
}

function checkIds(ids: Int32Array, vocabulary: number): Int32Array {
  const bad = ids.findIndex((id) => id < 0 || id >= vocabulary);
  if (bad < 0) return ids;
  throw badRequest({
    param: 'prompt',
    message: `prompt: expected token ids from 0 to ${vocabulary - 1}, got ${ids[bad]} at ${bad}`,
    remedy: 'encode the text with the tokenizer of this model, or send the text',
    value: ids[bad],
  });
}
