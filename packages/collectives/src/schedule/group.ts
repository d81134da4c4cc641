import { part } from './builder.js';
import type { Region } from './ir.js';
import { type Partition, partBytes } from './partition.js';

/** Ranks that take part in a phase of a schedule; generators number them 0 .. size - 1. */
export interface Group {
  readonly ranks: readonly number[];
  /** Index of the scheduled rank in `ranks`. */
  readonly me: number;
}

/** The group of all ranks. */
export function everyone(rank: number, size: number): Group {
  return { ranks: Array.from({ length: size }, (_, index) => index), me: rank };
}

/** Real rank of member `index`. */
export function member(group: Group, index: number): number {
  return group.ranks[index] as number;
}

/** Parts [index, to) of `whole`, divided by `partition`. */
export function chunk(whole: Region, partition: Partition, index: number, to: number = index + 1): Region {
  return part(whole, partition.offsets[index] as number, partBytes(partition, index, to));
}
