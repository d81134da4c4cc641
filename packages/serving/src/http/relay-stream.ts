import type { Usage } from '../backend.js';
import { upstreamError } from '../errors.js';
import { JsonObject } from '../json/json-object.js';
import type { BodyConsumer, BodySource } from '../upstream/leg.js';
import type { AnswerSink } from './answer-sink.js';
import { errorCode, errorData, hiddenError, isErrorBody } from './error-frame.js';
import { findFinishReason } from './finish-reason.js';
import { eventData, maxFrameBytes } from './sse-frames.js';
import { lastUsage } from './usage.js';

/** How a relayed answer ended. */
export interface RelayResult {
  readonly outcome: 'ok' | 'failed';
  readonly code?: string;
  readonly usage?: Usage;
  /** As the first choice that ended says; `unknown` for a word that is not OpenAI's. */
  readonly finishReason?: string;
}

/** Options of {@link relayStream}. */
export interface RelayOptions {
  readonly requestId: string;
  /** Choices that must finish. */
  readonly choices: number;
  /** The client did not ask for the usage: take its event out. */
  readonly hideUsage: boolean;
  readonly onFirstByte: () => void;
  /** Counts the pieces of the stream, about one a token, for those who count tokens where there is no usage. */
  readonly progress: { pieces: number };
}

const doneEvent = 'data: [DONE]\n\n';
const donePattern = /(?:^|\n)data: ?\[DONE\]\r?\n\r?\n/;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/**
 * Passes the bytes of a stream on, in whole events, and sees to it that it ends as a client can understand: with
 * `[DONE]`, and with an error event before that if it broke, ended too early, or never said how the text finished.
 * The source is asked for no more while the reader is behind.
 */
export function relayStream(
  source: BodySource,
  sink: AnswerSink,
  options: RelayOptions,
): Promise<RelayResult> {
  return new Promise((resolve) => {
    const relay = new StreamRelay(source, sink, options, resolve);
    sink.onDrain(() => source.resume());
    source.consume(relay);
  });
}

class StreamRelay implements BodyConsumer {
  readonly #source: BodySource;
  readonly #sink: AnswerSink;
  readonly #options: RelayOptions;
  readonly #resolve: (result: RelayResult) => void;
  /** Bytes of an event that has not ended. */
  #rest: Uint8Array[] = [];
  #restBytes = 0;
  #finishReason: string | undefined;
  #isOver = false;
  #errorCode: string | undefined;
  #usageText: string | undefined;

  constructor(
    source: BodySource,
    sink: AnswerSink,
    options: RelayOptions,
    resolve: (result: RelayResult) => void,
  ) {
    this.#source = source;
    this.#sink = sink;
    this.#options = options;
    this.#resolve = resolve;
  }

  data(chunk: Uint8Array): boolean {
    if (this.#isOver) {
      // Behind [DONE]: a server that goes on for ever must not keep its connection.
      this.#source.abort(undefined);
      return true;
    }
    if (this.#options.progress.pieces++ === 0) this.#options.onFirstByte();
    if (this.#restBytes === 0 && endsEvent(chunk, chunk.byteLength)) return this.#events(chunk);
    return this.#cut(chunk);
  }

  /** A piece that does not end with an event. */
  #cut(chunk: Uint8Array): boolean {
    this.#rest.push(chunk);
    this.#restBytes += chunk.byteLength;
    if (this.#restBytes > maxFrameBytes) {
      const error = upstreamError('bad-answer', 'of the stream', 'it sent an event that is too long');
      this.#source.abort(error);
      this.error(error);
      return true;
    }
    // Only the new bytes and the few before them can hold the end of an event.
    const tail = this.#rest.length > 1 ? Buffer.concat(this.#rest.slice(-4)) : chunk;
    const tailEnd = lastEnd(tail);
    if (tailEnd === 0) return true;
    const all = this.#rest.length > 1 ? Buffer.concat(this.#rest) : chunk;
    const end = all.byteLength - tail.byteLength + tailEnd;
    const rest = all.subarray(end);
    this.#rest = rest.byteLength === 0 ? [] : [rest];
    this.#restBytes = rest.byteLength;
    return this.#events(all.subarray(0, end));
  }

  /** Whole events. */
  #events(bytes: Uint8Array): boolean {
    let text = asLatin1(bytes);
    let out: Uint8Array | string = bytes;
    const done = text.includes('[DONE]') ? donePattern.exec(text) : null;
    if (done !== null) {
      text = text.slice(0, done.index + done[0].length);
      out = bytes.subarray(0, text.length);
    }
    this.#finishReason ??= findFinishReason(text);
    if (text.includes('"error"')) out = this.#nestErrors(out);
    if (text.includes('"usage"')) {
      this.#usageText = text;
      if (this.#options.hideUsage) out = withoutUsageEvents(out);
    }
    if (done === null) return out.length === 0 || this.#sink.write(out);
    if (this.#finishReason === undefined && this.#errorCode === undefined) {
      const end = typeof out === 'string' ? out.lastIndexOf('data:') : Buffer.from(out).lastIndexOf('data:');
      if (end > 0) this.#sink.write(out.slice(0, end));
      this.#source.abort(undefined);
      this.#fail(upstreamError('cut', 'of the stream', 'its stream ended without a finish reason'));
      return true;
    }
    this.#sink.end(out);
    this.#finish();
    return true;
  }

  end(): void {
    if (this.#isOver) return;
    const rest = Buffer.concat(this.#rest).toString('utf8').trim();
    // A last event without the empty line that should end it.
    if (rest === 'data: [DONE]' || rest === 'data:[DONE]') {
      this.#restBytes = 0;
      this.#events(Buffer.from(doneEvent));
      return;
    }
    const malformed = malformedError(rest);
    if (malformed !== undefined) {
      this.#fail(upstreamError('failed', 'of the stream', malformed));
    } else if (this.#errorCode !== undefined) {
      this.#sink.end(doneEvent);
      this.#finish();
    } else if (this.#finishReason !== undefined && rest === '' && this.#options.choices === 1) {
      this.#sink.end(doneEvent);
      this.#finish();
    } else {
      this.#fail(upstreamError('cut', 'of the stream', 'its stream ended before it was complete'));
    }
  }

  error(error: unknown): void {
    if (!this.#isOver) this.#fail(error);
  }

  #fail(error: unknown): void {
    this.#errorCode = errorCode(error);
    this.#sink.end(`data: ${errorData(error, this.#options.requestId)}\n\n${doneEvent}`);
    this.#finish();
  }

  #finish(): void {
    this.#isOver = true;
    const usage = this.#usageText === undefined ? undefined : lastUsage(this.#usageText);
    this.#resolve({
      outcome: this.#errorCode === undefined ? 'ok' : 'failed',
      ...(this.#errorCode !== undefined && { code: this.#errorCode }),
      ...(usage !== undefined && { usage }),
      ...(this.#finishReason !== undefined && { finishReason: this.#finishReason }),
    });
  }

  /** Notes that the server failed; clients know errors by OpenAI's nested form alone. */
  #nestErrors(bytes: Uint8Array): Uint8Array | string {
    const events = splitEvents(bytes).map((event) => {
      const body = JsonObject.tryParse(eventData(event) ?? '');
      if (body === undefined || !isErrorBody(body)) return event;
      const error = hiddenError(body, 'of the stream');
      this.#errorCode = error.code;
      return error.body === body.text ? event : `data: ${error.body}\n\n`;
    });
    return this.#errorCode === undefined ? bytes : events.join('');
  }
}

function asLatin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function endsEvent(bytes: Uint8Array, end: number): boolean {
  if (end < 2 || bytes[end - 1] !== lineFeed) return false;
  if (bytes[end - 2] === lineFeed) return true;
  return end >= 3 && bytes[end - 2] === carriageReturn && bytes[end - 3] === lineFeed;
}

/** Behind the last event that has ended; 0 = none has. */
function lastEnd(bytes: Uint8Array): number {
  for (let at = bytes.lastIndexOf(lineFeed); at > 0; at = bytes.lastIndexOf(lineFeed, at - 1)) {
    if (endsEvent(bytes, at + 1)) return at + 1;
  }
  return 0;
}

/** Events with the empty lines behind them. */
function splitEvents(bytes: Uint8Array | string): string[] {
  return Buffer.from(bytes as Uint8Array)
    .toString('utf8')
    .split(/(?<=\r?\n\r?\n)/);
}

/** Takes out events that carry only the usage. */
function withoutUsageEvents(bytes: Uint8Array | string): string {
  return splitEvents(bytes)
    .filter((event) => !(/"choices"\s*:\s*\[\s*\]/.test(event) && /"usage"\s*:\s*\{/.test(event)))
    .join('');
}

/** The message of an error that was written as a Python dictionary, as some routers do. */
function malformedError(rest: string): string | undefined {
  return /^data: ?\{'error': ?(?:\{.*?'message': ?)?['"](.{1,2000}?)['"]/s.exec(rest)?.[1];
}
