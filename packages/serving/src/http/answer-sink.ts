import type { ServerResponse } from 'node:http';

/** Where an answer goes: a connection of this process's own server, or a `Response`. */
export interface AnswerSink {
  /** Once, before anything else. */
  start(status: number, headers: Readonly<Record<string, string>>): void;
  /** @returns false = the reader is behind; wait for `onDrain`. */
  write(chunk: Uint8Array | string): boolean;
  end(chunk?: Uint8Array | string): void;
  /** Calls back each time a reader that was behind has caught up. */
  onDrain(callback: () => void): void;
}

/** Writes to node's response. */
export class NodeSink implements AnswerSink {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (!this.#response.headersSent) this.#response.writeHead(status, headers);
  }

  write(chunk: Uint8Array | string): boolean {
    return this.#response.write(chunk);
  }

  end(chunk?: Uint8Array | string): void {
    this.#response.end(chunk);
  }

  onDrain(callback: () => void): void {
    this.#response.on('drain', callback);
  }
}

/** Most that waits for the reader of a `Response`. */
const highWaterBytes = 64 * 1024;

/** Makes a `Response` of an answer. */
export class FetchSink implements AnswerSink {
  /** Resolves when the head is known. */
  readonly response: Promise<Response>;
  #resolve!: (response: Response) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #onDrain: () => void = () => undefined;
  readonly #encoder = new TextEncoder();
  readonly #onCancel: (reason: unknown) => void;
  #isClosed = false;

  constructor(onCancel: (reason: unknown) => void) {
    this.#onCancel = onCancel;
    this.response = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#onDrain(),
        cancel: (reason) => {
          this.#isClosed = true;
          this.#onCancel(reason);
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: highWaterBytes }),
    );
    this.#resolve(new Response(body, { status, headers }));
  }

  write(chunk: Uint8Array | string): boolean {
    if (this.#isClosed || this.#controller === undefined) return true;
    this.#controller.enqueue(typeof chunk === 'string' ? this.#encoder.encode(chunk) : chunk);
    return (this.#controller.desiredSize ?? 1) > 0;
  }

  end(chunk?: Uint8Array | string): void {
    if (this.#isClosed) return;
    if (chunk !== undefined) this.write(chunk);
    this.#isClosed = true;
    this.#controller?.close();
  }

  onDrain(callback: () => void): void {
    this.#onDrain = callback;
  }
}
