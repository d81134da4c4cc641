import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.simulator');

/** Stable codes of a {@link SimulatorError}. */
export type SimulatorErrorCode =
  | 'simulator/bad-config'
  | 'simulator/bad-trace'
  | 'simulator/out-of-memory'
  | 'simulator/infeasible'
  | 'simulator/aborted';

/** Every error that `@moestack/simulator` throws. */
export class SimulatorError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: SimulatorErrorCode }) {
    super(options);
    this.name = 'SimulatorError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link SimulatorError} of any copy of this package. */
  static override isInstance(error: unknown): error is SimulatorError {
    return hasErrorMarker(error, marker);
  }
}
