import { ServingError, upstreamError } from '../errors.js';
import type { ForwardAnswer } from '../forward.js';
import { nestedErrorBody } from '../http/upstream-error-body.js';
import type { BodySource, Leg, LegHead } from '../upstream/leg.js';

const maxErrorBytes = 256 * 1024;

/** A successful head, with the body still to come. */
export function bodyAnswer(head: LegHead, source: BodySource): ForwardAnswer {
  const type = head.headers['content-type'];
  return { type: 'body', contentType: typeof type === 'string' ? type : 'application/json', source };
}

export function isSuccess(head: LegHead): boolean {
  return head.status >= 200 && head.status < 300;
}

/** Reads an answer with an error status. Never throws: what cannot be read is an error of its own. */
export async function errorAnswer(
  leg: Leg,
  head: LegHead,
): Promise<ServingError | Extract<ForwardAnswer, { type: 'error' }>> {
  const { worker } = leg;
  const { status, headers } = head;
  let text = '';
  try {
    text = await leg.text(maxErrorBytes);
  } catch (error) {
    if (status < 500) return asServingError(error, worker.name);
  }
  if (status < 400 || status > 599) {
    return upstreamError('bad-answer', worker.name, `it answered with status ${status}`);
  }
  // The gateway's key for that server is wrong, which no client can mend.
  if (status === 401 || status === 403) {
    return upstreamError('failed', worker.name, `it refused the gateway with status ${status}`);
  }
  const retryAfter = headers['retry-after'];
  return {
    type: 'error',
    status,
    body: nestedErrorBody(status, text, worker.name),
    code: 'serving/upstream-failed',
    ...(typeof retryAfter === 'string' && { retryAfter }),
  };
}

/** What a leg failed with. */
export function asServingError(error: unknown, worker: string): ServingError {
  return ServingError.isInstance(error) ? error : upstreamError('failed', worker, String(error), error);
}
