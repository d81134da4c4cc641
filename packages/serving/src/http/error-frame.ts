import type { ForwardAnswer } from '../forward.js';
import type { JsonObject } from '../json/json-object.js';
import { errorBody } from './error-response.js';
import { nestedErrorBody } from './upstream-error-body.js';

/** An error as the data of an event: an OpenAI error body. */
export function errorData(error: unknown, requestId: string): string {
  return isErrorAnswer(error) ? error.body : JSON.stringify(errorBody(error, requestId));
}

/** Stable code of whatever went wrong. */
export function errorCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : 'internal_error';
}

/** Whether a server's body or event is an error, whatever the status before it: nested as OpenAI has it, or flat. */
export function isErrorBody(body: JsonObject): boolean {
  return Boolean(body.get('error')) || body.get('object') === 'error';
}

/** An error that a server sent under a status of success. */
export function hiddenError(body: JsonObject, where: string): Extract<ForwardAnswer, { type: 'error' }> {
  const text = nestedErrorBody(502, body.text, where);
  return { type: 'error', status: 502, body: text, code: 'serving/upstream-failed' };
}

/** Whether a value is a server's error answer. */
export function isErrorAnswer(value: unknown): value is Extract<ForwardAnswer, { type: 'error' }> {
  if (typeof value !== 'object' || value === null || value instanceof Error) return false;
  return (value as { type?: unknown }).type === 'error' && 'body' in value && 'status' in value;
}
