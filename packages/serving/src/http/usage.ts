import type { Usage } from '../backend.js';

/**
 * The last usage in a text of JSON, which need not be JSON as a whole. A quotation mark in a JSON string is escaped, so
 * the name cannot be found inside one.
 */
export function lastUsage(text: string): Usage | undefined {
  for (let at = text.lastIndexOf('"usage"'); at !== -1; at = text.lastIndexOf('"usage"', at - 1)) {
    const match = /^"usage"\s*:\s*(?=\{)/.exec(text.slice(at, at + 64));
    if (match !== null) return parseUsage(text, at + match[0].length);
    if (at === 0) break;
  }
  return undefined;
}

function parseUsage(text: string, start: number): Usage | undefined {
  let depth = 0;
  // Usage holds numbers and names only: no braces within strings.
  for (let at = start; at < Math.min(text.length, start + 4096); at++) {
    if (text[at] === '{') depth += 1;
    else if (text[at] === '}') depth -= 1;
    if (depth > 0) continue;
    try {
      return toUsage(JSON.parse(text.slice(start, at + 1)));
    } catch {
      return undefined;
    }
  }
  return undefined;
}

function toUsage(value: Record<string, unknown>): Usage {
  const details = value['prompt_tokens_details'] as { cached_tokens?: unknown } | null | undefined;
  return {
    promptTokens: count(value['prompt_tokens']),
    completionTokens: count(value['completion_tokens']),
    cachedTokens: count(details?.cached_tokens),
  };
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
