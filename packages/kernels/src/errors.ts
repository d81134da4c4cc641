import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.kernels');

/** Every error of this package; codes start with `kernels/`. */
export class KernelsError extends MoestackError {
  constructor(options: MoestackErrorOptions) {
    super(options);
    this.name = 'KernelsError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link KernelsError} of any copy of this package. */
  static override isInstance(error: unknown): error is KernelsError {
    return hasErrorMarker(error, marker);
  }
}

/** The arena has less free space than was asked for. */
export class OutOfMemoryError extends KernelsError {
  /** Bytes that were asked for. */
  readonly requestedBytes: number;
  /** Bytes that were still free. */
  readonly freeBytes: number;

  constructor(what: string, requestedBytes: number, freeBytes: number) {
    super({
      code: 'kernels/out-of-memory',
      message: `expected ${requestedBytes} free bytes in the arena for ${what}, got ${freeBytes}`,
      value: { requestedBytes, freeBytes },
      remedy: 'create the arena with a larger maximumBytes, release scopes earlier, or use more ranks',
    });
    this.name = 'OutOfMemoryError';
    this.requestedBytes = requestedBytes;
    this.freeBytes = freeBytes;
  }
}
