/**
 * Seeded generator of one request: splitmix32 over a 32-bit state, period 2^32. Same seed, same numbers, on every
 * platform.
 */
export class SeededRandom {
  private state: number;

  /** @param seed - any integer; its low 53 bits count. */
  constructor(seed: number) {
    const high = Math.floor(seed / 2 ** 32) >>> 0;
    this.state = (seed >>> 0) ^ Math.imul(high, 0x85ebca6b);
  }

  /** A number in `[0, 1)` with 32 random bits. */
  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  }
}
