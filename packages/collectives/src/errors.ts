import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.collectives');

/** Stable codes of a {@link CollectivesError}. */
export type CollectivesErrorCode =
  | 'collectives/bad-config'
  | 'collectives/bad-shape'
  | 'collectives/not-finite';

/** Every error that `@moestack/collectives` throws. No output array has been written when one is thrown. */
export class CollectivesError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: CollectivesErrorCode }) {
    super(options);
    this.name = 'CollectivesError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link CollectivesError} of any copy of this package. */
  static override isInstance(error: unknown): error is CollectivesError {
    return hasErrorMarker(error, marker);
  }
}
