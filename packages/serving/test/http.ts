import type { Gateway } from '../src/index.js';

/** A frame of a stream. */
export interface Frame {
  readonly choices: readonly Record<string, unknown>[];
  readonly error?: Record<string, unknown>;
  readonly [field: string]: unknown;
}

/** Posts a JSON value, or a text as it is. */
export async function post(
  gateway: Gateway,
  path: string,
  body: object | string,
  init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Response> {
  return gateway.fetch(
    new Request(`http://x${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...init.headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
      ...(init.signal && { signal: init.signal }),
    }),
  );
}

/** The frames of a stream; throws unless it ends in `[DONE]`. */
export async function frames(response: Response): Promise<Frame[]> {
  const events = (await response.text()).split('\n\n');
  if (events.pop() !== '' || events.pop() !== 'data: [DONE]')
    throw new Error('the stream does not end in [DONE]');
  return events.map((event) => JSON.parse(event.replace(/^data: /, '')) as Frame);
}
