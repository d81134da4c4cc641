import { ServingError } from '../errors.js';

/** Events of one viewer that wait until the connection takes them; by name, the newest only. */
class Viewer {
  readonly #waiting = new Map<string, string>();
  #wake: (() => void) | undefined;
  isClosed = false;

  put(name: string, frame: string): void {
    this.#waiting.set(name, frame);
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** What waits, when something does; empty at the end. */
  async take(): Promise<string> {
    while (this.#waiting.size === 0 && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const text = [...this.#waiting.values()].join('');
    this.#waiting.clear();
    return text;
  }
}

/**
 * Sends events to any number of viewers. A viewer that reads slowly misses events instead of filling this process: of
 * each name only the newest waits for it.
 */
export class EventFeed {
  readonly #viewers = new Set<Viewer>();
  readonly #maximumViewers: number;

  constructor(maximumViewers = 32) {
    this.#maximumViewers = maximumViewers;
  }

  /** Viewers that are connected. */
  get viewers(): number {
    return this.#viewers.size;
  }

  /** Sends an event to all. */
  send(name: string, data: unknown): void {
    if (this.#viewers.size === 0) return;
    const frame = eventFrame(name, data);
    for (const viewer of this.#viewers) viewer.put(name, frame);
  }

  /** Ends all connections. */
  close(): void {
    for (const viewer of this.#viewers) {
      viewer.isClosed = true;
      viewer.wake();
    }
    this.#viewers.clear();
  }

  /**
   * The response of a new viewer.
   *
   * @param hello - data of its first event, by name.
   * @throws {@link ServingError} 503 when there are too many.
   */
  connect(hello: Readonly<Record<string, unknown>>): Response {
    if (this.#viewers.size >= this.#maximumViewers) {
      throw new ServingError({
        code: 'serving/too-many-viewers',
        message: `${this.#viewers.size} pages follow the dashboard already`,
        remedy: 'close one of them, or try again later',
        value: this.#viewers.size,
        status: 503,
        retryAfterSeconds: 5,
      });
    }
    const viewer = new Viewer();
    for (const [name, data] of Object.entries(hello)) viewer.put(name, eventFrame(name, data));
    this.#viewers.add(viewer);
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const text = await viewer.take();
          if (text === '') controller.close();
          else controller.enqueue(encoder.encode(text));
        },
        cancel: () => {
          viewer.isClosed = true;
          viewer.wake();
          this.#viewers.delete(viewer);
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, {
      headers: {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
      },
    });
  }
}

function eventFrame(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
