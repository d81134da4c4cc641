/** The frame that ends every stream. */
const done = 'data: [DONE]\n\n';

/** What {@link sseResponse} needs to know. */
export interface SseOptions {
  readonly requestId: string;
  /** The last frame's data when `frames` throws. */
  readonly onError: (error: unknown) => Promise<unknown>;
  /** The client left before the end. */
  readonly onCancel: () => Promise<void>;
  /** How a value becomes an event; default: JSON as its data. */
  readonly encode?: (value: unknown) => string;
  /** What follows the last event; default `[DONE]`. */
  readonly end?: string;
}

/**
 * Streams JSON values as server-sent events, then `[DONE]`, also after an error.
 *
 * The next value is asked for when the connection has taken the one before, so a slow reader slows the source down
 * instead of filling this process.
 */
export function sseResponse(frames: AsyncIterator<unknown>, options: SseOptions): Response {
  const encoder = new TextEncoder();
  const { encode = frame, end = done } = options;
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await frames.next();
          if (cancelled) return;
          if (!next.done) {
            controller.enqueue(encoder.encode(encode(next.value)));
            return;
          }
          if (end !== '') controller.enqueue(encoder.encode(end));
        } catch (error) {
          if (cancelled) return;
          controller.enqueue(encoder.encode(encode(await options.onError(error)) + end));
        }
        controller.close();
      },
      async cancel() {
        cancelled = true;
        await options.onCancel();
        await frames.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-request-id': options.requestId,
    },
  });
}

function frame(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}
