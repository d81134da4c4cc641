import type { ForwardAnswer } from '../forward.js';
import { errorBody } from './error-response.js';

/** An error as the data of an event: an OpenAI error body. */
export function errorData(error: unknown, requestId: string): string {
  return isErrorAnswer(error) ? error.body : JSON.stringify(errorBody(error, requestId));
}

/** Stable code of whatever went wrong. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'internal_error';
}

/** Whether a value is a server's error answer. */
export function isErrorAnswer(value: unknown): value is Extract<ForwardAnswer, { type: 'error' }> {
  if (typeof value !== 'object' || value === null || value instanceof Error) return false;
  return (value as { type?: unknown }).type === 'error' && 'body' in value && 'status' in value;
}
