import { describe, expect, it } from 'vitest';
import { normalCdf, normalDensity } from './normal.js';

describe('normalCdf', () => {
  // Tabulated to 16 digits.
  it.each([
    [0, 0.5],
    [1, 0.8413447460685429],
    [-2, 0.02275013194817921],
    [-3, 0.0013498980316300946],
    [3, 0.9986501019683699],
    [-6, 9.865876450376981e-10],
    [-20, 2.7536241186062337e-89],
  ])('at %d', (x, expected) => {
    expect(Math.abs(normalCdf(x) / expected - 1)).toBeLessThan(5e-13);
  });

  it('has the density as its slope and is 0 and 1 far out', () => {
    for (let x = -5; x <= 5; x += 0.37) {
      const slope = (normalCdf(x + 1e-5) - normalCdf(x - 1e-5)) / 2e-5;
      expect(Math.abs(slope - normalDensity(x))).toBeLessThan(1e-9);
    }
    expect(normalCdf(-50)).toBe(0);
    expect(normalCdf(50)).toBe(1);
  });
});
