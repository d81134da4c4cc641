import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.fp8');

/** Error of `@moestack/fp8`; `code` starts with `fp8/`. */
export class Fp8Error extends MoestackError {
  constructor(options: MoestackErrorOptions) {
    super(options);
    this.name = 'Fp8Error';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is an {@link Fp8Error} of any copy of this package. */
  static override isInstance(error: unknown): error is Fp8Error {
    return hasErrorMarker(error, marker);
  }
}

/**
 * A checkpoint file is malformed, truncated, inconsistent or incomplete; `file` names it.
 */
export class CheckpointError extends Fp8Error {
  /** File (or source) name as the caller or the index gave it. */
  readonly file: string;

  constructor(file: string, options: MoestackErrorOptions) {
    super({ ...options, message: `${file}: ${options.message}` });
    this.name = 'CheckpointError';
    this.file = file;
  }
}

const SHOWN_CHARACTERS = 120;

/** Quotes untrusted text for a message, cut to a length that is safe to log. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS)}…` : text);
}
