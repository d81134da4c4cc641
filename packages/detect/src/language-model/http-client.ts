import { DetectError } from '../errors.js';
import { needInteger } from '../scores/checks.js';
import type { Deadline } from './deadline.js';

/** Where an HTTP model is and how to talk to it. */
export interface HttpOptions {
  /** Such as `http://127.0.0.1:8000`; paths are appended. */
  readonly baseUrl: string;
  /** Sent as `Authorization: Bearer`. */
  readonly apiKey?: string;
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Largest answer that is read. Default 64 MiB. */
  readonly maximumBytes?: number;
}

/** A server answered with an error status. */
export class DetectHttpError extends DetectError {
  readonly status: number;
  /** Whether the same request may succeed later. */
  readonly isRetryable: boolean;

  constructor(url: string, status: number, body: string) {
    super({
      code: 'detect/http',
      message: `expected status 200 from ${url}, got ${status}: ${body.slice(0, 500)}`,
      value: status,
      remedy:
        status === 401 || status === 403
          ? 'pass the apiKey that the server expects'
          : status === 404
            ? 'check baseUrl and whether the server has this endpoint'
            : 'read the message of the server',
    });
    this.name = 'DetectHttpError';
    this.status = status;
    this.isRetryable = status === 408 || status === 429 || status >= 500;
  }
}

const MAXIMUM_BYTES = 64 * 2 ** 20;

/** Posts JSON and parses a JSON answer of bounded size. */
export class HttpClient {
  readonly #options: HttpOptions;
  readonly #maximumBytes: number;

  constructor(options: HttpOptions) {
    let protocol = '';
    try {
      protocol = new URL(options.baseUrl).protocol;
    } catch {
      // Named below.
    }
    if (protocol !== 'http:' && protocol !== 'https:') {
      throw new DetectError({
        code: 'detect/bad-config',
        message: `expected an http or https URL for baseUrl, got ${options.baseUrl}`,
        value: options.baseUrl,
        remedy: 'pass the address of the server, such as http://127.0.0.1:8000',
      });
    }
    this.#options = options;
    this.#maximumBytes = options.maximumBytes ?? MAXIMUM_BYTES;
    needInteger('maximumBytes', this.#maximumBytes, 1, 2 ** 31 - 1);
  }

  /** @throws DetectHttpError, DetectError `detect/http` without a connection, `detect/too-large`, `detect/bad-response` */
  async post(path: string, body: unknown, deadline: Deadline): Promise<unknown> {
    const url = this.#options.baseUrl.replace(/\/+$/, '') + path;
    deadline.check();
    try {
      const response = await fetch(url, {
        method: 'POST',
        redirect: 'error',
        signal: deadline.signal,
        headers: {
          'content-type': 'application/json',
          ...(this.#options.apiKey !== undefined && { authorization: `Bearer ${this.#options.apiKey}` }),
          ...this.#options.headers,
        },
        body: JSON.stringify(body),
      });
      const text = await this.#read(url, response);
      if (response.status !== 200) throw new DetectHttpError(url, response.status, text);
      return JSON.parse(text) as unknown;
    } catch (cause) {
      deadline.check();
      if (DetectError.isInstance(cause)) throw cause;
      if (cause instanceof SyntaxError) throw badResponse(url, 'JSON', cause.message);
      throw new DetectError({
        code: 'detect/http',
        message: `could not talk to ${url}: ${describe(cause)}`,
        value: url,
        remedy: 'check that the server runs and that baseUrl is right',
        cause,
      });
    }
  }

  async #read(url: string, response: Response): Promise<string> {
    const reader = response.body?.getReader();
    if (reader === undefined) return '';
    const decoder = new TextDecoder();
    let size = 0;
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return text + decoder.decode();
      size += value.length;
      if (size > this.#maximumBytes) {
        await reader.cancel();
        throw new DetectError({
          code: 'detect/too-large',
          message: `expected an answer of at most ${this.#maximumBytes} bytes from ${url}, got more`,
          value: this.#maximumBytes,
          remedy: 'ask for fewer tokens or log-probabilities, or raise maximumBytes',
        });
      }
      text += decoder.decode(value, { stream: true });
    }
  }
}

/** The error for an answer of the wrong shape. */
export function badResponse(source: string, expected: string, got: string): DetectError {
  return new DetectError({
    code: 'detect/bad-response',
    message: `expected ${expected} from ${source}, got ${got.slice(0, 300)}`,
    value: got.slice(0, 300),
    remedy: 'check the version of the server and that it returns log-probabilities of the prompt',
  });
}

function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? `${cause.message} (${cause.cause.message})` : cause.message;
}
