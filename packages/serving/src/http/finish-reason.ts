/** What OpenAI-compatible servers write as `finish_reason`. */
const finishReasons = ['stop', 'length', 'tool_calls', 'content_filter', 'function_call', 'abort'] as const;
type UpstreamFinishReason = (typeof finishReasons)[number];

/** Quotation marks within JSON strings are escaped, so no text can look like this. */
const pattern = /"finish_reason"\s*:\s*"([^"\\]{0,64})/;

/**
 * The first finish reason in a text of JSON, which need not be JSON as a whole.
 *
 * @returns undefined for none; `unknown` for one that is none of OpenAI's.
 */
export function findFinishReason(text: string): UpstreamFinishReason | 'unknown' | undefined {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) return undefined;
  return finishReasons.find((reason) => reason === found) ?? 'unknown';
}
