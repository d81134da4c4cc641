import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.routing');

/** Stable codes of a {@link RoutingError}. */
export type RoutingErrorCode =
  | 'routing/bad-config'
  | 'routing/bad-shape'
  | 'routing/not-finite'
  | 'routing/bad-index'
  | 'routing/node-limit'
  | 'routing/bad-state'
  | 'routing/bad-trace'
  | 'routing/no-convergence';

/** Every error that `@moestack/routing` throws. No output array has been written when one is thrown. */
export class RoutingError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: RoutingErrorCode }) {
    super(options);
    this.name = 'RoutingError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link RoutingError} of any copy of this package. */
  static override isInstance(error: unknown): error is RoutingError {
    return hasErrorMarker(error, marker);
  }
}
