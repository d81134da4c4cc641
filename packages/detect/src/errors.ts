import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.detect');

/**
 * Stable codes of a {@link DetectError}.
 *
 * - `bad-config`, `bad-shape`: options or array sizes that do not fit
 * - `not-finite`: logits or scores that are NaN or infinite where no number can come of them
 * - `too-short`: not enough tokens, texts or samples for the figure asked for: abstain
 * - `undefined-score`: a score that is 0/0 for this text: abstain
 * - `capability`: a language model gives less than the detector needs
 * - `model-mismatch`: a threshold of another detector, model pair or dtype; models that do not share a vocabulary
 * - `missing-peer`: an optional package is not installed
 * - `model`: a language model failed; `http`: a server answered with an error; `bad-response`: with something unexpected
 * - `too-large`: an input or answer beyond its bound
 */
export type DetectErrorCode =
  | 'detect/bad-config'
  | 'detect/bad-shape'
  | 'detect/not-finite'
  | 'detect/too-short'
  | 'detect/undefined-score'
  | 'detect/capability'
  | 'detect/model-mismatch'
  | 'detect/missing-peer'
  | 'detect/model'
  | 'detect/http'
  | 'detect/bad-response'
  | 'detect/too-large';

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
