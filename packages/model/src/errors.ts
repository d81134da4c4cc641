import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.model');

/** What can go wrong in this package; stable for programs. */
export type ModelErrorCode =
  | 'model/bad-config'
  | 'model/unsupported-config'
  | 'model/missing-file'
  | 'model/missing-tensor'
  | 'model/bad-tensor'
  | 'model/unsupported-precision'
  | 'model/bad-options'
  | 'model/bad-batch'
  | 'model/bad-token'
  | 'model/context-too-long'
  | 'model/closed'
  | 'model/no-runtime'
  | 'model/no-worker'
  | 'model/rank-failed'
  | 'model/out-of-step'
  | 'model/no-spare-slots'
  | 'model/placement-busy'
  | 'model/bad-blocks'
  | 'model/bad-tokenizer'
  | 'model/bad-template'
  | 'model/bad-sampling';

/** An error of this package: a checkpoint, configuration, batch or option that the engine cannot run. */
export class ModelError extends MoestackError {
  declare readonly code: ModelErrorCode;

  constructor(options: MoestackErrorOptions & { code: ModelErrorCode }) {
    super(options);
    this.name = 'ModelError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link ModelError} of any copy of this package. */
  static override isInstance(error: unknown): error is ModelError {
    return hasErrorMarker(error, marker);
  }
}
