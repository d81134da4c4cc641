/** The buffers a schedule works on: the caller's input and output, and scratch memory of the plan. */
export type BufferName = 'in' | 'out' | 'scratch';

/** A byte range of a buffer. */
export interface Region {
  readonly buffer: BufferName;
  readonly offset: number;
  readonly bytes: number;
}

/** Sends `source` to `peer`. */
export interface SendStep {
  readonly peer: number;
  readonly source: Region;
}

/**
 * Receives from `peer` into `target`; with `left`, the message is not stored but combined: `target = left ⊕ message` (`left` has the
 * length of `target` and is either the same region or does not overlap it).
 */
export interface ReceiveStep {
  readonly peer: number;
  readonly target: Region;
  readonly left?: Region;
}

/**
 * A step inside the rank. `copy` moves bytes (`delivery: true` when it hands an operation's payload to the own rank, which counts as traffic of
 * link class `self`; false for rearrangements); `reduce` computes `target = left ⊕ right`, where `target` may be either operand.
 */
export type LocalStep =
  | { readonly kind: 'copy'; readonly source: Region; readonly target: Region; readonly delivery: boolean }
  | { readonly kind: 'reduce'; readonly target: Region; readonly left: Region; readonly right: Region };

/**
 * What one rank does between two synchronisations with itself: first its local steps in order, then all its
 * sends and receives at the same time. The next round starts when all of them are complete on this rank; ranks do not wait for each other otherwise.
 *
 * Inside a round no receive target overlaps a send source, another target or another `left`. The k-th message from a to b in the order of a's
 * rounds (and of the sends inside a round) is the k-th that b receives from a in its order; no step has zero bytes, but for the
 * messages of a barrier and of `allToAll` with `variable` counts.
 */
export interface Round {
  readonly local: readonly LocalStep[];
  readonly sends: readonly SendStep[];
  readonly receives: readonly ReceiveStep[];
}

/** The ordered work of one rank; the same object is executed and priced. */
export interface Schedule {
  readonly rank: number;
  readonly size: number;
  /** Rounds in which this rank communicates or works; a last round may hold local steps only. */
  readonly rounds: readonly Round[];
  readonly scratchBytes: number;
}

/** What a schedule costs its rank: the inputs of an alpha-beta-gamma estimate. */
export interface ScheduleTotals {
  /** Rounds with at least one message. */
  readonly rounds: number;
  readonly messagesSent: number;
  readonly bytesSent: number;
  readonly messagesReceived: number;
  readonly bytesReceived: number;
  /** Bytes of results of ⊕. */
  readonly reducedBytes: number;
}
