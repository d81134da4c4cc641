import { Arena, RowSumKernels } from '@moestack/kernels';
import type { Transport } from '../communicator/transport.js';
import type { DispatcherConfig } from './config.js';
import type { DispatchCounters } from './slot-counters.js';

/** What the phases of one slot share. */
export interface SlotEnvironment {
  readonly transport: Transport;
  readonly config: DispatcherConfig;
  readonly counters: DispatchCounters;
  /** Working memory of combines. */
  readonly sums: RowSumKernels;
  /** First of the {@link TAGS_PER_SLOT} tags of this slot. */
  readonly firstTag: number;
}

/** Tags of one slot, by use. */
export const SLOT_TAGS: {
  readonly counts: number;
  readonly dispatch: number;
  readonly forward: number;
  readonly combine: number;
  readonly combineNode: number;
} = { counts: 0, dispatch: 1, forward: 2, combine: 3, combineNode: 4 };

/** Tags that one slot occupies. */
export const TAGS_PER_SLOT = 5;

/** Sums that one slot may hold: of its combine, its forwarder and its expanded layout. */
const SUMS_PER_SLOT = 4;

/** Working memory for the combines of a dispatcher. */
export function createSums(config: DispatcherConfig): RowSumKernels {
  const bytes = RowSumKernels.bytesFor(config.hidden, SUMS_PER_SLOT * config.inFlight);
  return new RowSumKernels(Arena.create({ maximumBytes: bytes }));
}

/** 0 .. size - 1, starting after `rank`, so that ranks do not all send to the same one first; `rank` itself is last. */
export function peersFrom(rank: number, size: number): number[] {
  return Array.from({ length: size }, (_, i) => (rank + 1 + i) % size);
}
