import type { PromptLogprob, TokenLogprob, TokenProbability, Usage } from '../backend.js';
import type { ChatLogprobs, CompletionLogprobs, UsageBody } from './responses.js';

/** Adds the usage of several continuations; a prompt shared by `n` of them counts once. */
export function sumUsage(usages: readonly Usage[], choicesPerPrompt: number): UsageBody {
  let prompt = 0;
  let completion = 0;
  let cached = 0;
  usages.forEach((usage, index) => {
    completion += usage.completionTokens;
    if (index % choicesPerPrompt !== 0) return;
    prompt += usage.promptTokens;
    cached += usage.cachedTokens;
  });
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** Chat format: a list of tokens, each with its alternatives. */
export function chatLogprobs(logprobs: readonly TokenLogprob[]): ChatLogprobs {
  return {
    content: logprobs.map((entry) => ({ ...tokenBody(entry), top_logprobs: entry.top.map(tokenBody) })),
  };
}

function tokenBody(entry: TokenProbability): { token: string; logprob: number; bytes: number[] } {
  return { token: entry.token, logprob: finite(entry.logprob), bytes: [...entry.bytes] };
}

/**
 * Text format: parallel lists. Returns the offset after the last token, for the next call of the same stream.
 *
 * @param offset - where the first token starts in the choice's text, in UTF-16 code units.
 */
export function completionLogprobs(
  logprobs: readonly (TokenLogprob | PromptLogprob)[],
  offset: number,
): { body: CompletionLogprobs; offset: number } {
  const body: CompletionLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
  for (const entry of logprobs) {
    body.tokens.push(entry.token);
    body.text_offset.push(offset);
    offset += entry.token.length;
    body.token_logprobs.push(entry.logprob === null ? null : finite(entry.logprob));
    body.top_logprobs.push(entry.logprob === null ? null : topRecord(entry.top));
  }
  return { body, offset };
}

/** Several tokens may show the same text (parts of a character); the likeliest keeps the name. */
function topRecord(top: readonly TokenProbability[]): Record<string, number> {
  const record: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const entry of top) record[entry.token] ??= finite(entry.logprob);
  return record;
}

/** JSON has no infinity; OpenAI shows -9999 for a token of no probability. */
function finite(logprob: number): number {
  return Math.max(logprob, -9999);
}
