import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.placement');

/** Stable codes of a {@link PlacementError}. */
export type PlacementErrorCode =
  | 'placement/bad-config'
  | 'placement/bad-shape'
  | 'placement/bad-plan'
  | 'placement/not-finite'
  | 'placement/bad-file'
  | 'placement/bad-state'
  | 'placement/worker-failed';

/** Every error that `@moestack/placement` throws. No output array has been written when one is thrown. */
export class PlacementError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: PlacementErrorCode }) {
    super(options);
    this.name = 'PlacementError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link PlacementError} of any copy of this package. */
  static override isInstance(error: unknown): error is PlacementError {
    return hasErrorMarker(error, marker);
  }
}
