import { TrafficCounters } from '../communicator/counters.js';
import type { Topology } from '../communicator/topology.js';

/** Traffic of one dispatcher on one rank, by purpose; every transfer is counted once, when it completes. */
export interface DispatchCounters {
  /** Token messages of dispatch. */
  readonly dispatch: TrafficCounters;
  /** Token messages of combine. */
  readonly combine: TrafficCounters;
  /** Counts that precede a dispatch. */
  readonly control: TrafficCounters;
}

/** Counters at zero. */
export function createCounters(rank: number, topology: Topology): DispatchCounters {
  return {
    dispatch: new TrafficCounters(rank, topology),
    combine: new TrafficCounters(rank, topology),
    control: new TrafficCounters(rank, topology),
  };
}
