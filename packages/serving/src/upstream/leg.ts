import { type Dispatcher, errors } from 'undici';
import { clip, ServingError, upstreamError } from '../errors.js';
import type { Worker } from './worker.js';

/** Takes the body of an answer. */
export interface BodyConsumer {
  /** @returns false = send no more until `resume()` of the source. */
  data(chunk: Uint8Array): boolean;
  /** The body is whole. */
  end(): void;
  /** The body broke off. */
  error(error: unknown): void;
}

/** A body that somebody is going to consume. */
export interface BodySource {
  /** Once; what has arrived comes at once. */
  consume(consumer: BodyConsumer): void;
  /** Goes on after a consumer asked for a pause. */
  resume(): void;
  /** Nobody wants the rest. The consumer hears no more. */
  abort(reason: unknown): void;
}

/** Head of an answer. */
export interface LegHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** A request to one server. */
export interface LegRequest {
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Read ahead of a consumer that is not there yet; the connection waits when there is more. */
const maxQueuedBytes = 64 * 1024;

/**
 * One exchange with one server. Counts in the worker's load until it ends and tells the worker's breaker how it went.
 */
export class Leg implements BodySource {
  readonly worker: Worker;
  /** Rejects with a {@link ServingError} `serving/upstream-...`, or with the reason of {@link Leg.abort}. */
  readonly head: Promise<LegHead>;
  /** Resolves when nothing more happens, in whatever way it ended. */
  readonly settled: Promise<void>;
  /** Whether bytes of the request may have reached the server. */
  wasSent = false;
  #resolveHead!: (head: LegHead) => void;
  #rejectHead!: (error: unknown) => void;
  #settle!: () => void;
  #controller: Dispatcher.DispatchController | undefined;
  #consumer: BodyConsumer | undefined;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #status = 0;
  #isDone = false;
  #isEnded = false;
  #error: unknown;
  #abortReason: unknown;

  private constructor(worker: Worker) {
    this.worker = worker;
    this.head = new Promise((resolve, reject) => {
      this.#resolveHead = resolve;
      this.#rejectHead = reject;
    });
    // Several parties look at it, some only later.
    this.head.catch(() => undefined);
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  static send(worker: Worker, request: LegRequest): Leg {
    const leg = new Leg(worker);
    worker.running += 1;
    worker.breaker.begin();
    const headers: Record<string, string> = { 'content-type': 'application/json', ...request.headers };
    if (worker.authorization !== undefined) headers['authorization'] = worker.authorization;
    try {
      worker.connections.dispatch(
        {
          path: worker.pathPrefix + request.path,
          method: 'POST',
          headers,
          body: request.body,
          // Bodies wait for no other answer on their connection, and a retry is ours to decide.
          idempotent: false,
        },
        leg.#handler(),
      );
    } catch (error) {
      leg.#fail(error);
    }
    return leg;
  }

  #handler(): Dispatcher.DispatchHandler {
    return {
      onRequestStart: (controller) => {
        this.#controller = controller;
        if (this.#isDone) controller.abort(asError(this.#abortReason));
        else this.wasSent = true;
      },
      onResponseStart: (controller, status, headers) => {
        if (status < 200) return;
        const coding = headers['content-encoding'];
        if (coding !== undefined && coding !== 'identity') {
          const message = `its answer has the content-encoding ${clip(String(coding))}, which nobody asked for`;
          const error = upstreamError('bad-answer', this.worker.name, message);
          this.#fail(error);
          controller.abort(error);
          return;
        }
        this.#status = status;
        if (status >= 500) this.worker.breaker.failure();
        else this.worker.breaker.success();
        this.#resolveHead({ status, headers });
      },
      onResponseData: (_controller, chunk) => this.#data(chunk),
      onResponseEnd: () => this.#end(),
      onResponseError: (_controller, error) => this.#fail(error),
    };
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  consume(consumer: BodyConsumer): void {
    this.#consumer = consumer;
    this.#flush();
  }

  resume(): void {
    this.#flush();
  }

  abort(reason: unknown): void {
    if (this.#isDone) {
      // What has arrived is nobody's any more.
      this.#queue = [];
      this.#consumer = undefined;
      return;
    }
    this.#abortReason = reason;
    if (this.#status === 0) this.worker.breaker.neutral();
    this.#consumer = undefined;
    this.#queue = [];
    this.#finish();
    this.#rejectHead(reason);
    this.#controller?.abort(asError(reason));
  }

  /**
   * The whole body as text.
   *
   * @throws {@link ServingError} `serving/upstream-too-large`, or what cut it off.
   */
  text(limitBytes: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      this.consume({
        data: (chunk) => {
          size += chunk.byteLength;
          chunks.push(chunk);
          if (size <= limitBytes) return true;
          const error = upstreamError(
            'too-large',
            this.worker.name,
            `its answer is longer than ${limitBytes} bytes`,
          );
          this.abort(error);
          reject(error);
          return false;
        },
        end: () => resolve(Buffer.concat(chunks).toString('utf8')),
        error: reject,
      });
      void this.settled.then(() => {
        if (this.#abortReason !== undefined) reject(this.#abortReason);
      });
    });
  }

  /** Reads the rest and forgets it, which frees the connection. */
  drain(): void {
    this.consume({ data: () => true, end: () => undefined, error: () => undefined });
  }

  #data(chunk: Uint8Array): void {
    if (this.#isDone) return;
    if (this.#consumer !== undefined && this.#queue.length === 0) {
      if (!this.#consumer.data(chunk)) this.#controller?.pause();
      return;
    }
    this.#queue.push(chunk);
    this.#queuedBytes += chunk.byteLength;
    if (this.#queuedBytes > maxQueuedBytes) this.#controller?.pause();
  }

  #end(): void {
    this.#isEnded = true;
    this.#finish();
    this.#flush();
  }

  #fail(cause: unknown): void {
    if (this.#isDone) return;
    const error = upstreamFailure(cause, this.worker.name);
    this.#error = error;
    if (this.#status < 500) this.worker.breaker.failure();
    this.#finish();
    this.#rejectHead(error);
    this.#flush();
  }

  #finish(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.worker.running -= 1;
    this.#settle();
  }

  #flush(): void {
    const consumer = this.#consumer;
    if (consumer === undefined) return;
    while (this.#queue.length > 0) {
      const chunk = this.#queue.shift()!;
      this.#queuedBytes -= chunk.byteLength;
      if (!consumer.data(chunk)) return;
      if (this.#consumer !== consumer) return;
    }
    if (this.#isEnded) {
      this.#consumer = undefined;
      consumer.end();
    } else if (this.#error !== undefined) {
      this.#consumer = undefined;
      consumer.error(this.#error);
    } else if (this.#controller?.paused) {
      this.#controller.resume();
    }
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Codes of failures before a connection was there, or after it was used. */
function upstreamFailure(cause: unknown, worker: string): ServingError {
  if (ServingError.isInstance(cause)) return cause;
  const code = (cause as { code?: unknown } | null)?.code;
  const detail = cause instanceof Error ? cause.message : String(cause);
  switch (code) {
    case 'UND_ERR_HEADERS_TIMEOUT':
      return upstreamError('timeout', worker, 'it did not begin to answer in time', cause);
    case 'UND_ERR_BODY_TIMEOUT':
      return upstreamError('timeout', worker, 'it stopped in the middle of its answer', cause);
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ECONNREFUSED':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'UND_ERR_DESTROYED':
    case 'UND_ERR_CLOSED':
      return upstreamError('unreachable', worker, `it cannot be reached: ${String(code)}`, cause);
    default: {
      const message = `the connection broke: ${detail}`;
      // The parser's own error carries the bytes that it could not read, and whoever logs a cause logs them.
      const isParser = cause instanceof errors.HTTPParserError;
      return upstreamError('reset', worker, message, isParser ? new Error(detail) : cause);
    }
  }
}
