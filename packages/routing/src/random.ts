import { requireInteger } from './operands.js';

/** Uniform numbers in [0, 1). */
export type RandomSource = () => number;

/**
 * A seeded source of uniform numbers (mulberry32): the same seed gives the same numbers in every engine.
 *
 * @param seed - an integer; its low 32 bits count.
 */
export function createRandom(seed: number): RandomSource {
  let state = requireInteger('seed', seed, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
