import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.training');

/** Stable codes of a {@link TrainingError}. */
export type TrainingErrorCode =
  | 'training/bad-config'
  | 'training/bad-shape'
  | 'training/bad-checkpoint'
  | 'training/not-finite'
  | 'training/bad-corpus'
  | 'training/bad-package'
  | 'training/fetch-failed'
  | 'training/bad-tokenizer'
  | 'training/bad-log';

/** Every error that `@moestack/training` throws. No output array has been written when one is thrown. */
export class TrainingError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: TrainingErrorCode }) {
    super(options);
    this.name = 'TrainingError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link TrainingError} of any copy of this package. */
  static override isInstance(error: unknown): error is TrainingError {
    return hasErrorMarker(error, marker);
  }
}
