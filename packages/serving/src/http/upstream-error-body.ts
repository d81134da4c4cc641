import { clip } from '../errors.js';
import { JsonObject } from '../json/json-object.js';

/**
 * A server's error body in OpenAI's nested form. One that has this form already passes as it is; SGLang's flat one and
 * FastAPI's `detail` are nested, since clients lose the message of any other.
 *
 * @param worker - named where the server says nothing.
 */
export function nestedErrorBody(status: number, text: string, worker: string): string {
  const body = JsonObject.tryParse(text);
  if (body === undefined) return plain(status, `the server ${worker} answered with status ${status}`);
  const error = body.get('error');
  if (
    typeof error === 'object' &&
    error !== null &&
    typeof (error as { message?: unknown }).message === 'string'
  ) {
    return text;
  }
  if (typeof error === 'string') return plain(status, clip(error, 2000));
  const message = body.get('message');
  if (typeof message === 'string') {
    const members = [`"message":${JSON.stringify(message)}`];
    members.push(`"type":${rawString(body, 'type') ?? JSON.stringify(typeOf(status))}`);
    members.push(`"param":${body.raw('param') ?? 'null'}`, `"code":${body.raw('code') ?? String(status)}`);
    return `{"error":{${members.join(',')}}}`;
  }
  const detail = body.raw('detail');
  if (detail !== undefined) {
    const value = body.get('detail');
    return plain(status, clip(typeof value === 'string' ? value : detail, 2000));
  }
  return plain(status, `the server ${worker} answered with status ${status}`);
}

function rawString(body: JsonObject, name: string): string | undefined {
  return typeof body.get(name) === 'string' ? body.raw(name) : undefined;
}

function plain(status: number, message: string): string {
  return JSON.stringify({ error: { message, type: typeOf(status), param: null, code: status } });
}

function typeOf(status: number): string {
  if (status === 401 || status === 403) return 'authentication_error';
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
