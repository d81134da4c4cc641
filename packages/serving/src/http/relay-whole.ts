import type { Usage } from '../backend.js';
import { upstreamError } from '../errors.js';
import { JsonObject } from '../json/json-object.js';
import type { BodySource } from '../upstream/leg.js';
import { hiddenError, isErrorBody } from './error-frame.js';
import { findFinishReason } from './finish-reason.js';
import { lastUsage } from './usage.js';

const maxWholeBytes = 128 * 1024 * 1024;

/** An answer without a stream. */
export interface WholeAnswer {
  readonly bytes: Buffer;
  readonly usage?: Usage;
  readonly finishReason?: string;
}

/**
 * Reads an answer to its end before any of it is passed on, so that one that breaks can still be an error.
 *
 * @throws what it broke with.
 */
export function readWhole(source: BodySource): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    source.consume({
      data(chunk) {
        size += chunk.byteLength;
        chunks.push(chunk);
        if (size <= maxWholeBytes) return true;
        const error = upstreamError('too-large', 'of the answer', `it is longer than ${maxWholeBytes} bytes`);
        source.abort(error);
        reject(error);
        return false;
      },
      end() {
        const bytes = chunks.length === 1 ? asBuffer(chunks[0]!) : Buffer.concat(chunks);
        // A page of some proxy, half an answer or an error is no success, whatever its status says.
        const body = JsonObject.tryParse(bytes.toString('utf8'));
        if (body === undefined) {
          reject(upstreamError('bad-answer', 'of the answer', 'it is no JSON object'));
          return;
        }
        if (isErrorBody(body)) {
          reject(hiddenError(body, 'of the answer'));
          return;
        }
        // Usage and finish reason stand at the end, behind the text.
        const tail = bytes.subarray(Math.max(0, bytes.byteLength - 4096)).toString('latin1');
        const usage = lastUsage(tail);
        const finishReason = findFinishReason(tail);
        resolve({
          bytes,
          ...(usage !== undefined && { usage }),
          ...(finishReason !== undefined && { finishReason }),
        });
      },
      error: reject,
    });
  });
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
