import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from '@moestack/schemas/errors';

const marker: symbol = Symbol.for('moestack.error.collectives');
const mismatchMarker: symbol = Symbol.for('moestack.error.collectives.mismatch');
const peerFailureMarker: symbol = Symbol.for('moestack.error.collectives.peer-failure');
const timeoutMarker: symbol = Symbol.for('moestack.error.collectives.timeout');

/** Stable codes of a {@link CollectivesError}. */
export type CollectivesErrorCode =
  | 'collectives/bad-config'
  | 'collectives/bad-shape'
  | 'collectives/not-finite'
  | 'collectives/mismatch'
  | 'collectives/peer-failure'
  | 'collectives/timeout'
  | 'collectives/would-block'
  | 'collectives/busy'
  | 'collectives/closed'
  | 'collectives/unsupported'
  | 'collectives/out-of-memory'
  | 'collectives/native';

/**
 * Every error that `@moestack/collectives` throws.
 *
 * Errors of validation and agreement (`bad-config`, `bad-shape`, `mismatch`, `would-block`, `busy`, `closed`,
 * `unsupported`, `out-of-memory`) are thrown before any output has been written and any byte has moved. After
 * `peer-failure`, `timeout` and `native` the outputs of the operation are undefined and its communicator is broken.
 */
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

/**
 * Ranks planned different operations: another op, algorithm, dtype, reduction, root, or counts that do not fit.
 * Thrown on every rank of the communicator, before any byte has moved; the communicator stays usable.
 */
export class MismatchError extends CollectivesError {
  /** Ranks that differ from the lowest rank (or, for counts, whose counts do not fit together), ascending. */
  readonly ranks: readonly number[];
  /** What differs, for example `dtype` or `receiveCounts`. */
  readonly field: string;

  constructor(field: string, ranks: readonly number[], detail: string) {
    super({
      code: 'collectives/mismatch',
      message: `ranks disagree about ${field}: ${detail}`,
      value: { field, ranks },
      remedy: 'plan the same operation with matching arguments, in the same order, on every rank',
    });
    this.name = 'MismatchError';
    this.ranks = ranks;
    this.field = field;
    Object.defineProperty(this, mismatchMarker, { value: true });
  }

  /** Whether `error` is a {@link MismatchError} of any copy of this package. */
  static override isInstance(error: unknown): error is MismatchError {
    return hasErrorMarker(error, mismatchMarker);
  }
}

/** Ranks of the communicator died or were declared failed while an operation needed them. */
export class PeerFailureError extends CollectivesError {
  /** Failed ranks, in the numbering of the communicator that threw, ascending. */
  readonly ranks: readonly number[];

  constructor(ranks: readonly number[], reason: string, cause?: unknown) {
    super({
      code: 'collectives/peer-failure',
      message: `rank ${ranks.join(', ')} failed: ${reason}`,
      value: { ranks },
      remedy: 'continue on the survivors with shrink(), or close the communicator',
      cause,
    });
    this.name = 'PeerFailureError';
    this.ranks = ranks;
    Object.defineProperty(this, peerFailureMarker, { value: true });
  }

  /** Whether `error` is a {@link PeerFailureError} of any copy of this package. */
  static override isInstance(error: unknown): error is PeerFailureError {
    return hasErrorMarker(error, peerFailureMarker);
  }
}

/** An operation did not finish in time; `ranks` are those it still waited for. */
export class CollectivesTimeoutError extends CollectivesError {
  /** Ranks whose message or agreement was still missing, ascending. */
  readonly ranks: readonly number[];
  readonly timeoutSeconds: number;

  constructor(what: string, ranks: readonly number[], timeoutSeconds: number) {
    super({
      code: 'collectives/timeout',
      message: `${what} did not finish within ${timeoutSeconds} s; waiting for rank ${ranks.join(', ')}`,
      value: { ranks, timeoutSeconds },
      remedy: 'look for what holds these ranks up, or raise timeoutSeconds; then shrink() or close()',
    });
    this.name = 'CollectivesTimeoutError';
    this.ranks = ranks;
    this.timeoutSeconds = timeoutSeconds;
    Object.defineProperty(this, timeoutMarker, { value: true });
  }

  /** Whether `error` is a {@link CollectivesTimeoutError} of any copy of this package. */
  static override isInstance(error: unknown): error is CollectivesTimeoutError {
    return hasErrorMarker(error, timeoutMarker);
  }
}

/** A message that does not fit where it should go. */
export function messageTooLong(peer: number, bytes: number, room: number): MismatchError {
  return new MismatchError(
    'length',
    [peer],
    `rank ${peer} sent ${bytes} bytes into a receive of ${room} bytes`,
  );
}
