/**
 * The seed of one token's draw. It depends on the request's seed and on the token's place alone, so that a request
 * draws the same tokens on whichever rank, and after whatever recomputation, it runs.
 *
 * Two rounds of the 32-bit finaliser of MurmurHash3 over seed and position, once per half of the result.
 *
 * @returns an integer in [0, 2^53).
 */
export function positionSeed(seed: number, position: number): number {
  const low = seed >>> 0;
  const high = Math.floor(seed / 2 ** 32) >>> 0;
  const first = mix(mix(low ^ 0x9e3779b9) ^ high ^ Math.imul(position + 1, 0x85ebca6b));
  const second = mix(first ^ Math.imul(position + 1, 0xc2b2ae35));
  return (second & 0x1fffff) * 2 ** 32 + first;
}

function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
