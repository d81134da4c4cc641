import { describe, expect, it } from 'vitest';
import { positionSeed } from './position-seed.js';

describe('positionSeed', () => {
  it('gives every seed and place a number of its own', () => {
    const seen = new Set<number>();
    for (const seed of [-1, 0, 1, 2, 2 ** 32, 2 ** 48 - 1]) {
      for (let position = 0; position < 2000; position++) seen.add(positionSeed(seed, position));
    }
    expect(seen.size).toBe(6 * 2000);
    for (const value of seen) expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
  });

  it('is the same everywhere', () => {
    expect([positionSeed(42, 0), positionSeed(42, 1)]).toMatchInlineSnapshot(`
      [
        153973095170498,
        6449441638679330,
      ]
    `);
  });
});
