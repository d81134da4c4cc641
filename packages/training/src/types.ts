import type { TrainEvent } from '@moestack/schemas';

/** Where batches come from. A pure function of (seed, step, rank): resuming needs no state of it. */
export interface TokenSource {
  /**
   * Token ids `[sequences of this rank, context + 1]` of a step: inputs are all but the last of a row, targets all but the first.
   *
   * @param step - from 0.
   * @param rank - of the data-parallel worker.
   */
  batch(step: number, rank: number): Int32Array;
}

/**
 * How a worker thread makes its {@link TokenSource}: `module` exports `createTokenSource(options)`, and `options` survives
 * `postMessage`.
 */
export interface TokenSourceSpec {
  /** URL of an ES module. */
  readonly module: string;
  readonly options: unknown;
}

/** Options of `train`. */
export interface TrainOptions {
  /** Where checkpoints lie; the run resumes from the newest complete one. */
  readonly directory: string;
  /** Ends the run with a checkpoint, after the current step or, where ranks must agree, the next. */
  readonly signal?: AbortSignal;
  /** Called with every line of the log, as it is written. */
  readonly onEvent?: (event: TrainEvent) => void;
  /** Runs of one rank. */
  readonly source?: TokenSource;
  /** Runs of several ranks: each worker makes its own source. */
  readonly sourceSpec?: TokenSourceSpec;
  /** Seconds since any fixed moment, for `seconds` and `tokensPerSecond` only. Default: both 0. */
  readonly clock?: () => number;
}
