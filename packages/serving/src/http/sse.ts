/** The frame that ends every stream. */
const done = 'data: [DONE]\n\n';

/** What {@link sseResponse} needs to know. */
export interface SseOptions {
  readonly requestId: string;
  /** The last frame's data when `frames` throws. */
  readonly onError: (error: unknown) => Promise<unknown>;
  /** The client left before the end. */
  readonly onCancel: () => Promise<void>;
}

/**
 * Streams JSON values as server-sent events, then `[DONE]`, also after an error.
 *
 * The next value is asked for when the connection has taken the one before, so a slow reader slows the source down
 * instead of filling this process.
 */
export function sseResponse(frames: AsyncIterator<unknown>, options: SseOptions): Response {
  const encoder = new TextEncoder();
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const next = await frames.next();
          if (cancelled) return;
          if (!next.done) {
            controller.enqueue(encoder.encode(frame(next.value)));
            return;
          }
          controller.enqueue(encoder.encode(done));
        } catch (error) {
          if (cancelled) return;
          controller.enqueue(encoder.encode(frame(await options.onError(error)) + done));
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
