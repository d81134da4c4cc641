/** One half of a dispatch or combine as a state machine that is advanced by polling. */
export interface Phase {
  /** Does what can be done without waiting; returns whether this rank's part is complete. */
  advance(): boolean;
  /** Adds the ranks that it still waits for. */
  missing(out: Set<number>): void;
}
