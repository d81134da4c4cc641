import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { clip, ServingError } from '../errors.js';

/**
 * Only `application/json` is taken: a browser cannot send that to another origin without asking first, so no web page
 * can use a server that listens on loopback.
 *
 * @throws {@link ServingError} 415.
 */
export function requireJsonType(contentType: string | undefined): void {
  if (/^application\/(?:json|[\w.+-]{1,100}\+json)\s*(?:;|$)/i.test(contentType ?? '')) return;
  throw new ServingError({
    code: 'serving/unsupported-media-type',
    message: `expected a body of type application/json, got ${contentType === undefined || contentType === '' ? 'none' : clip(contentType)}`,
    remedy: 'send the header content-type: application/json',
    value: clip(contentType ?? ''),
    status: 415,
  });
}

/**
 * Reads the body of node's request as text.
 *
 * @param limitBytes - a longer body is refused before it is read to its end.
 * @throws {@link ServingError} 413, or 400 for a body that breaks off or is no UTF-8.
 */
export function readNodeBody(request: IncomingMessage, limitBytes: number): Promise<string> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > limitBytes) return Promise.reject(bodyTooLarge(announced, limitBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.byteLength;
      if (size <= limitBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        request.pause();
        reject(bodyTooLarge(size, limitBytes));
      }
    });
    request.on('end', () => {
      const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
      if (isUtf8(bytes)) resolve(bytes.toString('utf8'));
      else reject(unreadableBody('it is not valid UTF-8'));
    });
    request.on('error', (cause) => reject(unreadableBody(clip(cause.message), cause)));
    request.on('close', () => reject(unreadableBody('it broke off')));
  });
}

/** Reads the body of a web request as text; throws as {@link readNodeBody} does. */
export async function readWebBody(request: Request, limitBytes: number): Promise<string> {
  const announced = Number(request.headers.get('content-length') ?? 0);
  if (announced > limitBytes) throw bodyTooLarge(announced, limitBytes);
  if (request.body === null) return '';
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      size += value.byteLength;
      if (size > limitBytes) throw bodyTooLarge(size, limitBytes);
      chunks.push(value);
    }
  } catch (cause) {
    if (ServingError.isInstance(cause)) throw cause;
    throw unreadableBody(clip(cause instanceof Error ? cause.message : String(cause)), cause);
  } finally {
    reader.releaseLock();
  }
  const bytes = Buffer.concat(chunks);
  if (!isUtf8(bytes)) throw unreadableBody('it is not valid UTF-8');
  return bytes.toString('utf8');
}

function unreadableBody(why: string, cause?: unknown): ServingError {
  return new ServingError({
    code: 'serving/unreadable-body',
    message: `the body could not be read: ${why}`,
    remedy: 'send the whole body, as UTF-8',
    status: 400,
    ...(cause !== undefined && { cause }),
  });
}

function bodyTooLarge(sizeBytes: number, limitBytes: number): ServingError {
  return new ServingError({
    code: 'serving/body-too-large',
    openAiCode: 'body_too_large',
    message: `the body has ${sizeBytes} bytes or more, maxBodyBytes is ${limitBytes}`,
    remedy: 'send a smaller body, or raise maxBodyBytes of the server',
    value: sizeBytes,
    status: 413,
  });
}
