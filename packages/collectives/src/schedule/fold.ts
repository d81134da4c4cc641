import type { Group } from './group.js';
import { powerOfTwoBelow } from './partition.js';

/**
 * Reduces any group to a power of two: of the first 2 * (n - p) members each even one hands its data to the odd one above it and waits for the
 * result. The p others are numbered 0 .. p - 1 in order, each standing for one member or for two neighbours.
 */
export interface Fold {
  readonly power: number;
  /** Number among the p that go on, or -1 for a member that only waits. */
  readonly virtual: number;
  /** The neighbour in the fold, or -1. */
  readonly partner: number;
  /** First and past-the-last member for which virtual member `v` stands, as [2v, 2v + 2) or [v + rest, v + rest + 1). */
  first(v: number): number;
  /** The member that acts for virtual member `v`. */
  actor(v: number): number;
}

export function fold(group: Group): Fold {
  const size = group.ranks.length;
  const power = powerOfTwoBelow(size);
  const rest = size - power;
  const { me } = group;
  const folded = me < 2 * rest;
  return {
    power,
    virtual: !folded ? me - rest : me % 2 === 0 ? -1 : (me - 1) / 2,
    partner: !folded ? -1 : me % 2 === 0 ? me + 1 : me - 1,
    first: (v) => (v <= rest ? 2 * v : v + rest),
    actor: (v) => (v < rest ? 2 * v + 1 : v + rest),
  };
}
