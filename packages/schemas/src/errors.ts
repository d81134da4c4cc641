import { type EncodedError, isEncodedError } from './encoded-error.js';

/** What every {@link MoestackError} says: what was wrong, the value seen, and what to do about it. */
export interface MoestackErrorOptions {
  /** Stable, machine-readable code such as `fp8/bad-shape`. */
  code: string;
  /** What was wrong, with the value seen and what was expected. */
  message: string;
  /** The offending value; kept small, since it crosses threads and reaches logs. */
  value?: unknown;
  /** What the caller can do about it. */
  remedy: string;
  cause?: unknown;
}

const marker: symbol = Symbol.for('moestack.error');

/**
 * Base class of every error that moestack packages throw.
 *
 * A `Symbol.for` marker instead of `instanceof` decides membership, so that {@link MoestackError.isInstance}
 * also holds across duplicate installs of this package.
 *
 * @example
 * ```ts
 * import { MoestackError } from '@moestack/schemas/errors';
 *
 * const error = new MoestackError({
 *   code: 'demo/bad-block-size',
 *   message: 'expected a multiple of 128 for blockSize, got 96',
 *   value: 96,
 *   remedy: 'pass a multiple of 128',
 * });
 * console.log(MoestackError.isInstance(error), error.code);
 * ```
 */
export class MoestackError extends Error {
  readonly code: string;
  readonly value: unknown;
  readonly remedy: string;

  constructor(options: MoestackErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'MoestackError';
    this.code = options.code;
    this.value = options.value;
    this.remedy = options.remedy;
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link MoestackError} of any copy of this package. */
  static isInstance(error: unknown): error is MoestackError {
    return hasErrorMarker(error, marker);
  }
}

/** Whether `error` carries the given `Symbol.for` marker; the `isInstance` of subclasses is built on it. */
export function hasErrorMarker(error: unknown, symbol: symbol): boolean {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[symbol] === true;
}

/** The operation was cancelled through its AbortSignal. */
export class AbortedError extends MoestackError {
  constructor(what: string, cause?: unknown) {
    super({
      code: 'aborted',
      message: `${what} was aborted`,
      remedy: 'none needed: the caller asked for it',
      cause,
    });
    this.name = 'AbortedError';
  }
}

/** Something waited longer than it was allowed to. */
export class TimeoutError extends MoestackError {
  constructor(what: string, timeoutSeconds: number) {
    super({
      code: 'timeout',
      message: `${what} did not finish within ${timeoutSeconds} s`,
      value: timeoutSeconds,
      remedy: 'raise the timeout, or look for what holds the other side up',
    });
    this.name = 'TimeoutError';
  }
}

export type { EncodedError } from './encoded-error.js';

const MAX_CAUSES = 8;
const MAX_TEXT = 16_384;

/**
 * Turns any thrown value into plain data that survives `postMessage`, JSON and process boundaries.
 *
 * @param error - anything that was thrown; a value that is not an error becomes a message.
 */
export function encodeError(error: unknown): EncodedError {
  return encode(error, 0);
}

function encode(error: unknown, depth: number): EncodedError {
  if (!(error instanceof Error) && !MoestackError.isInstance(error)) {
    return { moestackError: 1, name: 'Error', message: clip(String(error)), isMoestack: false };
  }
  const encoded: EncodedError = {
    moestackError: 1,
    name: error.name,
    message: clip(error.message),
    isMoestack: MoestackError.isInstance(error),
  };
  if (error.stack !== undefined) encoded.stack = clip(error.stack);
  if (MoestackError.isInstance(error)) {
    encoded.code = error.code;
    encoded.remedy = error.remedy;
    const value = plainValue(error.value);
    if (value !== undefined) encoded.value = value;
  }
  if (error.cause !== undefined && depth < MAX_CAUSES) encoded.cause = encode(error.cause, depth + 1);
  return encoded;
}

/**
 * The reverse of {@link encodeError}: a {@link MoestackError} with the original name, code, value and remedy.
 *
 * An error that was not a MoestackError becomes one with code `internal`. Data that is no encoded error gives
 * a MoestackError with code `schemas/bad-encoded-error`.
 */
export function decodeError(encoded: unknown): MoestackError {
  if (!isEncodedError(encoded)) {
    return new MoestackError({
      code: 'schemas/bad-encoded-error',
      message: `expected an encoded error, got ${clip(String(encoded))}`,
      value: plainValue(encoded),
      remedy: 'send what encodeError returned',
    });
  }
  const error = new MoestackError({
    code: encoded.code ?? 'internal',
    message: encoded.message,
    value: encoded.value,
    remedy: encoded.remedy ?? 'this is a defect of moestack: please report it with its stack',
    cause: encoded.cause === undefined ? undefined : decodeError(encoded.cause),
  });
  error.name = encoded.name;
  if (encoded.stack !== undefined) error.stack = encoded.stack;
  return error;
}

function clip(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

/** Keeps what JSON can carry; everything else becomes its text. */
function plainValue(value: unknown): unknown {
  if (value === undefined || value === null || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value === 'string') return clip(value);
  if (typeof value === 'object') {
    try {
      const text = JSON.stringify(value);
      return text !== undefined && text.length <= MAX_TEXT ? JSON.parse(text) : clip(text ?? String(value));
    } catch {
      return clip(Object.prototype.toString.call(value));
    }
  }
  return clip(String(value));
}
