import type { z } from '@hono/zod-openapi';
import { badRequest, clip, ServingError } from '../errors.js';

/**
 * Reads a request's JSON body and checks it.
 *
 * Only `application/json` is taken: a browser cannot send that to another origin without asking first, so no web page
 * can use a server that listens on loopback.
 *
 * @param limitBytes - a longer body is refused before it is read to its end.
 * @throws {@link ServingError} 415, 413 or 400.
 */
export async function readJson<T extends z.ZodType>(
  request: Request,
  schema: T,
  limitBytes: number,
): Promise<z.infer<T>> {
  const contentType = request.headers.get('content-type') ?? '';
  if (!/^application\/(?:json|[\w.+-]+\+json)\s*(?:;|$)/i.test(contentType)) {
    throw new ServingError({
      code: 'serving/unsupported-media-type',
      message: `expected a body of type application/json, got ${contentType === '' ? 'none' : clip(contentType)}`,
      remedy: 'send the header content-type: application/json',
      value: clip(contentType),
      status: 415,
    });
  }
  const text = await readText(request, limitBytes);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (cause) {
    throw new ServingError({
      code: 'serving/invalid-json',
      openAiCode: 'invalid_json',
      message: `the body is not valid JSON: ${clip(cause instanceof Error ? cause.message : String(cause))}`,
      remedy: 'send one JSON object',
      status: 400,
      cause,
    });
  }
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path ?? [];
  const param = path.join('.');
  const value = valueAt(body, path);
  throw badRequest({
    ...(param !== '' && { param: clip(param) }),
    message: `${param === '' ? 'the body' : clip(param)}: ${issue?.message ?? 'invalid'}, got ${describe(value)}`,
    remedy: 'see /openapi.json for what is accepted',
    value: describe(value),
  });
}

async function readText(request: Request, limitBytes: number): Promise<string> {
  const announced = Number(request.headers.get('content-length') ?? 0);
  if (announced > limitBytes) throw tooLarge(announced, limitBytes);
  if (request.body === null) return '';
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = request.body.getReader();
  let text = '';
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      size += value.byteLength;
      if (size > limitBytes) throw tooLarge(size, limitBytes);
      text += decoder.decode(value, { stream: true });
    }
  } catch (cause) {
    if (ServingError.isInstance(cause)) throw cause;
    throw new ServingError({
      code: 'serving/unreadable-body',
      message: `the body could not be read: ${clip(cause instanceof Error ? cause.message : String(cause))}`,
      remedy: 'send the whole body, as UTF-8',
      status: 400,
      cause,
    });
  } finally {
    reader.releaseLock();
  }
}

function tooLarge(sizeBytes: number, limitBytes: number): ServingError {
  return new ServingError({
    code: 'serving/body-too-large',
    openAiCode: 'body_too_large',
    message: `the body has ${sizeBytes} bytes or more, maxBodyBytes is ${limitBytes}`,
    remedy: 'send a smaller body, or raise maxBodyBytes of the server',
    value: sizeBytes,
    status: 413,
  });
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A short text for a value of any size and depth. */
function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(clip(value));
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}
