import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.scheduler');

/** Stable codes of a {@link SchedulerError}. */
export type SchedulerErrorCode =
  | 'scheduler/bad-config'
  | 'scheduler/bad-request'
  | 'scheduler/queue-full'
  | 'scheduler/too-long'
  | 'scheduler/unknown-step'
  | 'scheduler/bad-outcomes'
  | 'scheduler/not-steady';

/** Every error that `@moestack/scheduler` throws. Nothing has changed when one is thrown. */
export class SchedulerError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: SchedulerErrorCode }) {
    super(options);
    this.name = 'SchedulerError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link SchedulerError} of any copy of this package. */
  static override isInstance(error: unknown): error is SchedulerError {
    return hasErrorMarker(error, marker);
  }
}
