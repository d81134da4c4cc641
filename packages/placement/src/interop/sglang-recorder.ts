import { AbortedError, TimeoutError } from '@moestack/schemas/errors';
import { PlacementError } from '../errors.js';
import { badConfig } from '../operands.js';

/** Options of {@link SglangRecorderClient}. */
export interface SglangRecorderOptions {
  /** How the endpoints are called; they take both. Default POST. */
  readonly method?: 'GET' | 'POST';
  /** Sent as a bearer token, where the server has one. */
  readonly apiKey?: string;
  /** Longest time of one call; default 60. A dump gathers counts from all ranks. */
  readonly timeoutSeconds?: number;
  /** Default: the global fetch. */
  readonly fetch?: typeof fetch;
}

/** Longest answer that is read, for the message of an error. */
const MAX_ANSWER_BYTES = 4096;

/**
 * The endpoints of SGLang's expert distribution recorder. The server must run with
 * `--expert-distribution-recorder-mode`; a dump is a file in the server's SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR.
 */
export class SglangRecorderClient {
  readonly #url: URL;
  readonly #options: SglangRecorderOptions;
  readonly #timeoutSeconds: number;

  /** @param url - of the server: `http://127.0.0.1:30000`. */
  constructor(url: string, options: SglangRecorderOptions = {}) {
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed === undefined || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) {
      throw badConfig(
        `expected an http URL, got ${url.slice(0, 200)}`,
        url.slice(0, 200),
        'pass http://HOST:PORT',
      );
    }
    if (!parsed.pathname.endsWith('/')) parsed.pathname += '/';
    const { timeoutSeconds = 60 } = options;
    if (!(timeoutSeconds > 0 && timeoutSeconds <= 86_400)) {
      throw badConfig(
        `expected seconds up to a day, got ${timeoutSeconds}`,
        String(timeoutSeconds),
        'pass timeoutSeconds',
      );
    }
    this.#url = parsed;
    this.#options = options;
    this.#timeoutSeconds = timeoutSeconds;
  }

  /** Begins to record; counts from before are dropped. */
  start(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#call('start_expert_distribution_record', options.signal);
  }

  /** Ends recording; what was recorded stays until a dump. */
  stop(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#call('stop_expert_distribution_record', options.signal);
  }

  /** Writes what was recorded to files, and drops it. */
  dump(options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#call('dump_expert_distribution_record', options.signal);
  }

  async #call(endpoint: string, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) throw new AbortedError(endpoint, signal.reason);
    const { method = 'POST', apiKey, fetch: send = fetch } = this.#options;
    const timeout = AbortSignal.timeout(this.#timeoutSeconds * 1000);
    try {
      const response = await send(new URL(endpoint, this.#url), {
        method,
        redirect: 'error',
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        ...(apiKey === undefined ? {} : { headers: { authorization: `Bearer ${apiKey}` } }),
      });
      const answer = await readStart(response);
      if (!response.ok) throw engineFailed(endpoint, response.status, answer);
    } catch (error) {
      if (signal?.aborted) throw new AbortedError(endpoint, signal.reason);
      if (timeout.aborted) throw new TimeoutError(endpoint, this.#timeoutSeconds);
      if (PlacementError.isInstance(error)) throw error;
      throw unreachable(endpoint, this.#url.origin, error);
    }
  }
}

/** The beginning of an answer; the rest is not waited for. */
async function readStart(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder();
  let text = '';
  for (let bytes = 0; bytes < MAX_ANSWER_BYTES; ) {
    const { done, value } = await reader.read();
    if (done) return text;
    bytes += value.length;
    text += decoder.decode(value, { stream: true });
  }
  await reader.cancel().catch(() => undefined);
  return text.slice(0, MAX_ANSWER_BYTES);
}

function engineFailed(endpoint: string, status: number, answer: string): PlacementError {
  return new PlacementError({
    code: 'placement/engine-failed',
    message: `SGLang answered ${status} to ${endpoint}: ${answer.replace(/\s+/g, ' ').slice(0, 300)}`,
    value: { endpoint, status },
    remedy:
      status === 401 || status === 403
        ? 'pass the API key of the server'
        : 'start the server with --expert-distribution-recorder-mode stat, and record before a dump',
  });
}

function unreachable(endpoint: string, origin: string, cause: unknown): PlacementError {
  const { cause: inner, message } = cause as Error;
  const why = inner instanceof Error ? inner.message : message;
  return new PlacementError({
    code: 'placement/engine-failed',
    message: `cannot reach ${origin} for ${endpoint}: ${String(why).slice(0, 300)}`,
    value: { endpoint },
    remedy: 'check that the server runs at this address',
    cause,
  });
}
