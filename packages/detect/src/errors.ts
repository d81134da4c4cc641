import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.detect');

/** Stable codes of a {@link DetectError}. */
export type DetectErrorCode = 'detect/bad-config' | 'detect/bad-shape' | 'detect/not-finite';

/** Every error that `@moestack/detect` throws. No output array has been written when one is thrown. */
export class DetectError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: DetectErrorCode }) {
    super(options);
    this.name = 'DetectError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link DetectError} of any copy of this package. */
  static override isInstance(error: unknown): error is DetectError {
    return hasErrorMarker(error, marker);
  }
}
