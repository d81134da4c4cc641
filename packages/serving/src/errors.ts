import { hasErrorMarker, MoestackError } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.serving');

/** The `type` field of an OpenAI error body. */
export type OpenAiErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'not_found_error'
  | 'rate_limit_error'
  | 'server_error'
  | 'service_unavailable_error';

/** What a {@link ServingError} says beyond a MoestackError: how it looks over HTTP. */
export interface ServingErrorOptions {
  /** Stable code, `serving/...`. */
  code: string;
  message: string;
  remedy: string;
  value?: unknown;
  cause?: unknown;
  /** HTTP status; default 500. */
  status?: number;
  /** OpenAI error type; default by status. */
  type?: OpenAiErrorType;
  /** The request field at fault, such as `messages.0.content`. */
  param?: string;
  /** The `code` of the HTTP error body where OpenAI has a well-known one; default `code`. */
  openAiCode?: string;
  /** Sent as `Retry-After`. */
  retryAfterSeconds?: number;
}

/**
 * Error of the serving package; it knows its HTTP status and OpenAI error body.
 *
 * @example
 * ```ts
 * import { ServingError } from '@moestack/serving';
 *
 * const error = new ServingError({ code: 'serving/demo', message: 'no', remedy: 'ask again', status: 400 });
 * console.log(ServingError.isInstance(error), error.type);
 * ```
 */
export class ServingError extends MoestackError {
  readonly status: number;
  readonly type: OpenAiErrorType;
  readonly param: string | null;
  readonly openAiCode: string;
  readonly retryAfterSeconds: number | undefined;

  constructor(options: ServingErrorOptions) {
    super(options);
    this.name = 'ServingError';
    this.status = options.status ?? 500;
    this.type = options.type ?? typeOfStatus(this.status);
    this.param = options.param ?? null;
    this.openAiCode = options.openAiCode ?? options.code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    Object.defineProperty(this, marker, { value: true });
  }

  static override isInstance(error: unknown): error is ServingError {
    return hasErrorMarker(error, marker);
  }
}

function typeOfStatus(status: number): OpenAiErrorType {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  if (status === 503) return 'service_unavailable_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** 400: a field of the request holds a value that cannot be served. */
export function badRequest(options: {
  param?: string;
  message: string;
  remedy: string;
  value?: unknown;
}): ServingError {
  return new ServingError({
    code: 'serving/bad-request',
    openAiCode: 'invalid_value',
    status: 400,
    ...options,
  });
}

/** 400: an option of a function holds a value that it cannot work with. */
export function badOption(name: string, value: unknown, expected: string, cause?: unknown): ServingError {
  return new ServingError({
    code: 'serving/bad-options',
    message: `expected ${expected} for ${name}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
    status: 400,
    cause,
  });
}

/** 404: no model of that name is served. */
export function unknownModel(model: string, served: readonly string[]): ServingError {
  return new ServingError({
    code: 'serving/unknown-model',
    openAiCode: 'model_not_found',
    message: `the model ${JSON.stringify(clip(model))} is not served here`,
    remedy: `use one of: ${served.join(', ')}`,
    value: clip(model),
    param: 'model',
    status: 404,
  });
}

/**
 * 400: the prompt alone is longer than the model's context.
 *
 * @param isLowerBound - the prompt was not counted to its end.
 */
export function promptTooLong(
  promptTokens: number,
  contextTokens: number,
  param: string,
  isLowerBound = false,
): ServingError {
  return new ServingError({
    code: 'serving/prompt-too-long',
    openAiCode: 'context_length_exceeded',
    message: `the prompt has ${isLowerBound ? 'at least ' : ''}${promptTokens} tokens, the context holds ${contextTokens}`,
    remedy: `shorten the prompt to at most ${contextTokens} tokens`,
    value: promptTokens,
    param,
    status: 400,
  });
}

/** 429: the bounded queue is full. */
export function queueFull(waiting: number, retryAfterSeconds: number): ServingError {
  return new ServingError({
    code: 'serving/queue-full',
    openAiCode: 'queue_full',
    message: `the queue is full: ${waiting} requests are waiting`,
    remedy: `try again in ${retryAfterSeconds} s, or start the server with a longer queue`,
    value: waiting,
    status: 429,
    retryAfterSeconds,
  });
}

/**
 * 429: the request would not get its tokens in time.
 *
 * @param target - the latency target that would be missed.
 */
export function sloMissed(
  target: 'ttft' | 'tpot',
  predictedSeconds: number,
  retryAfterSeconds: number,
): ServingError {
  const what = target === 'ttft' ? 'the first token would come' : 'tokens would come one';
  const predicted = predictedSeconds.toPrecision(2);
  return new ServingError({
    code: `serving/slo-${target}`,
    openAiCode: `slo_${target}`,
    message: `the server is too busy: ${what} ${target === 'ttft' ? 'after' : 'every'} ${predicted} s`,
    value: predictedSeconds,
    remedy: `try again in ${retryAfterSeconds} s, or send the request to another server`,
    status: 429,
    retryAfterSeconds,
  });
}

/** 503: the server is shutting down. */
export function draining(): ServingError {
  return new ServingError({
    code: 'serving/draining',
    openAiCode: 'server_draining',
    message: 'the server is shutting down and takes no new requests',
    remedy: 'send the request to another server, or try again when this one is back',
    status: 503,
    retryAfterSeconds: 5,
  });
}

/** What can go wrong with a server behind the gateway. */
export type UpstreamFault =
  | 'unreachable'
  | 'reset'
  | 'timeout'
  | 'too-large'
  | 'bad-answer'
  | 'failed'
  | 'cut';

/** 502, or 504 for a timeout: a server behind the gateway failed. The message names the worker, never its address. */
export function upstreamError(
  fault: UpstreamFault,
  worker: string,
  message: string,
  cause?: unknown,
): ServingError {
  return new ServingError({
    code: `serving/upstream-${fault}`,
    openAiCode: `upstream_${fault.replace('-', '_')}`,
    message: `the server ${worker} failed: ${message}`,
    remedy: 'try again; if it lasts, look at the log of that server',
    value: worker,
    status: fault === 'timeout' ? 504 : 502,
    ...(cause !== undefined && { cause }),
  });
}

/** 503: every server of a pool is down, or was tried in vain. */
export function noWorker(backend: string, role: string, retryAfterSeconds: number): ServingError {
  return new ServingError({
    code: 'serving/no-worker',
    openAiCode: 'no_worker',
    message: `no ${role} server of ${backend} takes requests`,
    remedy: `try again in ${retryAfterSeconds} s; if it lasts, look at the servers' health`,
    value: backend,
    status: 503,
    retryAfterSeconds,
  });
}

/** An address in a configuration that cannot be used. */
export function badWorker(url: string, expected: string): ServingError {
  return new ServingError({
    code: 'serving/bad-worker',
    message: `expected ${expected}, got ${JSON.stringify(clip(url))}`,
    remedy: 'correct the url of the worker',
    value: clip(url),
  });
}

/** The first characters of a value that goes into a message. */
export function clip(text: string, length = 120): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
