import { describe, expect, it } from 'vitest';
import { exp64 } from './exp64.js';

describe('exp64', () => {
  it('is within 1e-14 of Math.exp over the normal range', () => {
    let worst = 0;
    for (let i = 0; i <= 200_000; i++) {
      const x = -707 + (i / 200_000) * 1416;
      worst = Math.max(worst, Math.abs(exp64(x) / Math.exp(x) - 1));
    }
    for (let i = 0; i <= 100_000; i++) {
      const x = -20 + (i / 100_000) * 40;
      worst = Math.max(worst, Math.abs(exp64(x) / Math.exp(x) - 1));
    }
    expect(worst).toBeLessThan(1e-14);
  });

  it('is exact at 0 and saturates outside the range of doubles', () => {
    expect(exp64(0)).toBe(1);
    expect(exp64(-0)).toBe(1);
    expect(exp64(-1e300)).toBe(0);
    expect(exp64(1e300)).toBe(Number.POSITIVE_INFINITY);
  });
});
