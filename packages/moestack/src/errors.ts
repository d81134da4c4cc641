import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.cli');

/** Error of the command line itself. */
export class CliError extends MoestackError {
  constructor(options: MoestackErrorOptions) {
    super(options);
    this.name = 'CliError';
    Object.defineProperty(this, marker, { value: true });
  }

  static override isInstance(error: unknown): error is CliError {
    return hasErrorMarker(error, marker);
  }
}
