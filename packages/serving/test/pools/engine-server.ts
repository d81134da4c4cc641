import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a leg does instead of what it should. */
export type Fault =
  | 'refuse'
  | 'error-500'
  | 'error-400'
  | 'overloaded'
  | 'reset'
  | 'reset-mid-stream'
  | 'no-finish'
  | 'no-json'
  | 'null-handoff';

/** A request as a server sees it. */
export interface Seen {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly body: Record<string, unknown>;
}

export interface EngineOptions {
  /** Milliseconds between tokens. */
  readonly tokenDelayMs?: number;
  /** Most tokens of an answer. */
  readonly tokens?: number;
  readonly apiKey?: string;
  /** SGLang's error bodies are flat. */
  readonly flatErrors?: boolean;
  /** Cut what is written in the middle of characters and lines. */
  readonly splitBytes?: boolean;
}

/** Text of token `index`: no two are alike, and most hold characters of several bytes. */
export const tokenText = (index: number): string => ` ${['größe', '東京', '🙂', 'plain'][index % 4]}${index}`;

/** The text of an answer of so many tokens. */
export const answerText = (tokens: number): string =>
  Array.from({ length: tokens }, (_, index) => tokenText(index)).join('');

/** An HTTP server in the manner of an inference engine. Subclasses are the engines' roles. */
export abstract class EngineServer {
  readonly seen: Seen[] = [];
  /** Breaches of the protocol; a test fails if there are any. */
  readonly violations: string[] = [];
  running = 0;
  /** When it last sent the end of an answer that fails, as `performance.now()` has it. */
  failedAtMs = 0;
  /** Called when a request was read, and when it was admitted; what it returns is waited for. */
  gate: (point: 'arrived' | 'admitted', closed: AbortSignal) => Promise<void> | undefined = () => undefined;
  /** Decides what goes wrong with the request of that number. */
  fault: (index: number, seen: Seen) => Fault | undefined = () => undefined;
  readonly options: EngineOptions;
  #count = 0;
  #server: Server | undefined;
  #url = '';

  constructor(options: EngineOptions = {}) {
    this.options = options;
  }

  get url(): string {
    return this.#url;
  }

  /** Answers a request that was read; `closed` aborts when the connection does. */
  protected abstract answer(seen: Seen, response: ServerResponse, closed: AbortSignal): Promise<void>;

  async start(): Promise<this> {
    // As uvicorn: idle connections are closed after 5 s.
    const server = createServer({ keepAliveTimeout: 5000 }, (request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        this.violations.push(`crashed: ${String(error)}`);
        response.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#server = server;
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve));
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.on('error', () => undefined);
    if (request.method === 'GET') {
      const isList = request.url === '/v1/models';
      response.setHeader('content-type', 'application/json');
      response.end(
        isList ? '{"object":"list","data":[{"id":"m","object":"model","max_model_len":4096}]}' : '{}',
      );
      return;
    }
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const closed = new AbortController();
    response.on('close', () => {
      if (!response.writableFinished) closed.abort();
    });
    const seen = {
      path: request.url ?? '',
      headers: request.headers,
      text,
      body: JSON.parse(text) as Record<string, unknown>,
    };
    this.seen.push(seen);
    const { apiKey } = this.options;
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`) {
      return this.fail(response, 401, 'wrong key');
    }
    this.running += 1;
    try {
      await this.gate('arrived', closed.signal);
      await this.answer(seen, response, closed.signal);
    } finally {
      this.running -= 1;
    }
  }

  /** A breach of the protocol: noted, and answered as an engine would. */
  protected reject(response: ServerResponse, violation: string): void {
    this.violations.push(violation);
    this.fail(response, 400, violation);
  }

  protected nextFault(seen: Seen): Fault | undefined {
    return this.fault(this.#count++, seen);
  }

  /** Fails as a fault says that comes before an answer; whether it did. */
  protected fails(fault: Fault | undefined, response: ServerResponse): boolean {
    if (fault === 'reset') this.reset(response);
    else if (fault === 'error-500') this.fail(response, 500, 'the engine broke');
    else if (fault === 'error-400') this.fail(response, 400, 'temperature must be non-negative');
    else if (fault === 'overloaded') this.fail(response, 429, 'too many requests');
    else return false;
    return true;
  }

  protected reset(response: ServerResponse): void {
    this.failedAtMs = performance.now();
    response.destroy();
  }

  protected fail(response: ServerResponse, status: number, message: string): void {
    const type = status < 500 ? 'BadRequestError' : 'InternalServerError';
    const error = { message, type, param: null, code: status };
    const body = this.options.flatErrors === true ? { object: 'error', ...error } : { error };
    response.writeHead(status, {
      'content-type': 'application/json',
      ...(status === 429 || status === 503 ? { 'retry-after': '1' } : {}),
    });
    this.failedAtMs = performance.now();
    response.end(JSON.stringify(body));
  }

  /** Answers with tokens, whole or as a stream. */
  protected async generate(
    { path, body, headers }: Seen,
    response: ServerResponse,
    closed: AbortSignal,
    fault?: Fault,
  ): Promise<void> {
    const chat = path === '/v1/chat/completions';
    const wanted = (body['max_completion_tokens'] ?? body['max_tokens'] ?? 8) as number;
    const count = Math.min(wanted, this.options.tokens ?? 8);
    const prompts =
      Array.isArray(body['prompt']) && typeof body['prompt'][0] !== 'number' ? body['prompt'].length : 1;
    const choices = prompts * ((body['n'] as number | undefined) ?? 1);
    const indexes = Array.from({ length: choices }, (_, index) => index);
    const head = {
      id: `${chat ? 'chatcmpl' : 'cmpl'}-${headers['x-request-id'] ?? 'x'}`,
      object: chat ? 'chat.completion' : 'text_completion',
      created: 1_700_000_000,
      model: body['model'],
    };
    const usage = {
      prompt_tokens: 3 * prompts,
      total_tokens: 3 * prompts + count * choices,
      completion_tokens: count * choices,
      prompt_tokens_details: { cached_tokens: 1 },
    };
    if (body['stream'] !== true) {
      await this.pause(closed, count);
      if (closed.aborted) return;
      if (fault === 'no-json') {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(`<html>${answerText(count)}</html>`);
        return;
      }
      if (fault === 'reset-mid-stream') {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.write('{"id":"x","choices":[');
        await this.pause(closed, 1);
        return this.reset(response);
      }
      const finish = { logprobs: null, finish_reason: 'length', stop_reason: null };
      const answer = indexes.map((index) =>
        chat
          ? { index, message: { role: 'assistant', content: answerText(count) }, ...finish }
          : { index, text: answerText(count), ...finish },
      );
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ ...head, choices: answer, usage, kv_transfer_params: null }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.flushHeaders();
    const chunk = (
      index: number,
      delta: string | { role: string; content: string },
      reason: string | null,
    ) => {
      const piece = chat
        ? { delta: typeof delta === 'string' ? (delta === '' ? {} : { content: delta }) : delta }
        : { text: typeof delta === 'string' ? delta : '' };
      const object = chat ? 'chat.completion.chunk' : 'text_completion';
      return this.write(
        response,
        `data: ${JSON.stringify({ ...head, object, choices: [{ index, ...piece, logprobs: null, finish_reason: reason }] })}\n\n`,
      );
    };
    if (chat) for (const index of indexes) await chunk(index, { role: 'assistant', content: '' }, null);
    for (let token = 0; token < count; token++) {
      await this.pause(closed, 1);
      if (closed.aborted) return;
      if (fault === 'reset-mid-stream' && token === 1) return this.reset(response);
      if (token === 2) await this.write(response, ': keep-alive\n\n');
      for (const index of indexes) await chunk(index, tokenText(token), null);
    }
    if (fault === 'no-finish') {
      this.failedAtMs = performance.now();
      response.end();
      return;
    }
    for (const index of indexes) await chunk(index, '', 'length');
    if ((body['stream_options'] as { include_usage?: boolean } | undefined)?.include_usage === true) {
      await this.write(response, `data: ${JSON.stringify({ ...head, choices: [], usage })}\n\n`);
    }
    await this.write(response, 'data: [DONE]\n\n');
    response.end();
  }

  protected async write(response: ServerResponse, text: string): Promise<void> {
    const bytes = Buffer.from(text);
    const wait = (wrote: boolean) =>
      wrote || response.destroyed
        ? undefined
        : new Promise<void>((resolve) => {
            response.once('drain', resolve);
            response.once('close', resolve);
          });
    if (this.options.splitBytes !== true) {
      await wait(response.write(bytes));
      return;
    }
    // At the second byte of a character if there is one, else in the middle of `data:`.
    const inCharacter = bytes.findIndex((byte) => (byte & 0xc0) === 0x80);
    const cut = inCharacter === -1 ? 3 : inCharacter;
    response.write(bytes.subarray(0, cut));
    await new Promise((resolve) => setImmediate(resolve));
    await wait(response.write(bytes.subarray(cut)));
  }

  protected pause(closed: AbortSignal, tokens: number): Promise<void> {
    const ms = (this.options.tokenDelayMs ?? 0) * tokens;
    return new Promise((resolve) => {
      if (closed.aborted) return resolve();
      if (ms === 0) return void setImmediate(resolve);
      const timer = setTimeout(resolve, ms);
      closed.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

/** Resolves when the signal aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve());
  });

/** JSON with each number as the text it was written as, so that values can be compared to their last digit. */
export function exactJson(text: string): unknown {
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    token.startsWith('"') ? token : `"#${token}"`,
  );
  return JSON.parse(marked);
}
