import { type Agent, type ClientRequest, request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LoadErrorCount, LoadOutcome } from '@moestack/schemas';
import type { Clock } from '../clock.js';
import { SseLines } from './sse-lines.js';

/** One request, ready to be sent. */
export interface OutgoingRequest {
  readonly url: URL;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly timeoutSeconds: number;
  /** The client leaves after so many chunks with text; undefined = it stays. */
  readonly leaveAfterChunks: number | undefined;
  readonly signal: AbortSignal;
}

/** Where what is seen on the way goes. */
export interface ChunkListener {
  /** A chunk with text; `gapSeconds` since the last one, undefined for the first. */
  onChunk(gapSeconds: number | undefined): void;
}

/** What became of a request. */
export interface ClientResult {
  readonly outcome: LoadOutcome;
  readonly error?: Omit<LoadErrorCount, 'count'>;
  readonly firstUs: number | undefined;
  readonly lastUs: number | undefined;
  readonly endUs: number;
  readonly chunks: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
}

const MAX_ERROR_BYTES = 64 * 1024;

/** Sends a streaming request and measures its chunks. Never throws: whatever happens is a result. */
export function sendRequest(
  outgoing: OutgoingRequest,
  agent: Agent,
  clock: Clock,
  listener: ChunkListener,
): Promise<ClientResult> {
  return new Promise((resolve) => new Exchange(outgoing, agent, clock, listener, resolve));
}

class Exchange {
  readonly #outgoing: OutgoingRequest;
  readonly #clock: Clock;
  readonly #listener: ChunkListener;
  readonly #resolve: (result: ClientResult) => void;
  readonly #agent: Agent;
  #request: ClientRequest;
  #isRetry = false;
  #isAnswered = false;
  readonly #timer: NodeJS.Timeout;
  readonly #lines = new SseLines();
  readonly #onAbort = () => this.#end('aborted', { kind: 'aborted', example: 'the load test was stopped' });
  #firstUs: number | undefined;
  #lastUs: number | undefined;
  #chunks = 0;
  #isFinished = false;
  #isTerminated = false;
  #usage = { prompt: 0, cached: 0, completion: 0 };
  #ended = false;

  constructor(
    outgoing: OutgoingRequest,
    agent: Agent,
    clock: Clock,
    listener: ChunkListener,
    resolve: (result: ClientResult) => void,
  ) {
    this.#outgoing = outgoing;
    this.#agent = agent;
    this.#clock = clock;
    this.#listener = listener;
    this.#resolve = resolve;
    const { timeoutSeconds, signal } = outgoing;
    this.#timer = setTimeout(
      () => this.#end('timeout', { kind: 'timeout', example: `no end within ${timeoutSeconds} s` }),
      timeoutSeconds * 1000,
    );
    this.#request = this.#open();
    signal.addEventListener('abort', this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
    else this.#request.end(outgoing.body);
  }

  #open(): ClientRequest {
    const { url, headers } = this.#outgoing;
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = send(url, { method: 'POST', agent: this.#agent, headers }, (response) =>
      this.#receive(response),
    );
    return request.on('error', (error: NodeJS.ErrnoException) => this.#broken(request, error));
  }

  #broken(request: ClientRequest, error: NodeJS.ErrnoException): void {
    if (this.#ended) return;
    // The server closed a connection that was idle while this request was on its way: it has seen nothing of it.
    if (request.reusedSocket && !this.#isRetry && !this.#isAnswered && error.code === 'ECONNRESET') {
      this.#isRetry = true;
      this.#request = this.#open();
      this.#request.end(this.#outgoing.body);
      return;
    }
    this.#end('failed', {
      kind: 'connection',
      example: error.message,
      ...(error.code !== undefined && { code: error.code }),
    });
  }

  #receive(response: IncomingMessage): void {
    this.#isAnswered = true;
    response.on('error', (error) => this.#end('failed', { kind: 'connection', example: error.message }));
    response.on('aborted', () =>
      this.#end('failed', { kind: 'connection', example: 'the server closed the connection' }),
    );
    if (response.statusCode === 200) {
      response.on('data', (piece: Buffer) => this.#take(piece));
      response.on('end', () => this.#close());
      return;
    }
    const pieces: Buffer[] = [];
    let size = 0;
    response.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size <= MAX_ERROR_BYTES) pieces.push(piece);
    });
    response.on('end', () => this.#refused(response.statusCode ?? 0, Buffer.concat(pieces).toString('utf8')));
  }

  #refused(status: number, body: string): void {
    const { code, message } = errorOf(parse(body));
    this.#end(status === 429 || status === 503 ? 'rejected' : 'failed', {
      kind: 'http',
      status,
      example: (message ?? body).slice(0, 500),
      ...(code !== undefined && { code }),
    });
  }

  #take(piece: Buffer): void {
    let data: string[];
    try {
      data = this.#lines.push(piece);
    } catch (error) {
      this.#end('failed', { kind: 'protocol', example: (error as Error).message });
      return;
    }
    for (const text of data) {
      if (this.#ended) return;
      if (text === '[DONE]') this.#isTerminated = true;
      else this.#frame(text);
    }
  }

  #frame(text: string): void {
    const frame = parse(text);
    if (frame === undefined) {
      this.#end('failed', { kind: 'protocol', example: `a frame that is no JSON: ${text}`.slice(0, 500) });
      return;
    }
    if (frame['error'] !== undefined) {
      const { code, message = text } = errorOf(frame);
      this.#end('failed', {
        kind: 'stream',
        example: message.slice(0, 500),
        ...(code !== undefined && { code }),
      });
      return;
    }
    const choice = record(list(frame['choices'])[0]);
    if (typeof choice['finish_reason'] === 'string') this.#isFinished = true;
    const delta = record(choice['delta']);
    if (hasText(choice['text']) || hasText(delta['content']) || hasText(delta['reasoning_content']))
      this.#text();
    if (typeof frame['usage'] === 'object' && frame['usage'] !== null) this.#count(record(frame['usage']));
  }

  #text(): void {
    const nowUs = this.#clock.nowUs();
    this.#listener.onChunk(this.#lastUs === undefined ? undefined : (nowUs - this.#lastUs) / 1e6);
    this.#firstUs ??= nowUs;
    this.#lastUs = nowUs;
    this.#chunks++;
    if (this.#chunks === this.#outgoing.leaveAfterChunks) {
      this.#end('aborted', { kind: 'aborted', example: 'the client left by plan' });
    }
  }

  #count(usage: Record<string, unknown>): void {
    const details = record(usage['prompt_tokens_details']);
    this.#usage = {
      prompt: count(usage['prompt_tokens']),
      cached: count(details['cached_tokens']),
      completion: count(usage['completion_tokens']),
    };
  }

  #close(): void {
    // A stream without a finish reason and its terminal frame is a failure that looks like a success.
    if (this.#isFinished && this.#isTerminated) this.#end('completed');
    else
      this.#end('failed', { kind: 'protocol', example: 'the stream ended without finish_reason and [DONE]' });
  }

  #end(outcome: LoadOutcome, error?: Omit<LoadErrorCount, 'count'>): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#outgoing.signal.removeEventListener('abort', this.#onAbort);
    if (outcome !== 'completed') this.#request.destroy();
    this.#resolve({
      outcome,
      ...(error && { error }),
      firstUs: this.#firstUs,
      lastUs: this.#lastUs,
      endUs: this.#clock.nowUs(),
      chunks: this.#chunks,
      promptTokens: this.#usage.prompt,
      cachedTokens: this.#usage.cached,
      completionTokens: Math.max(this.#usage.completion, this.#chunks),
    });
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Code and message of an error body, nested as OpenAI has it or flat. */
function errorOf(body: Record<string, unknown> | undefined): { code?: string; message?: string } {
  const error =
    typeof body?.['error'] === 'object' && body['error'] !== null ? record(body['error']) : (body ?? {});
  const { code, message } = error;
  return {
    ...((typeof code === 'string' || typeof code === 'number') && { code: String(code) }),
    ...(typeof message === 'string' && { message }),
  };
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function hasText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function count(value: unknown): number {
  return Number.isInteger(value) && (value as number) >= 0 ? (value as number) : 0;
}
