import { describe, expect, it } from 'vitest';
import {
  betaQuantile,
  erfc,
  incompleteBeta,
  logGamma,
  normalQuantile,
  normalSurvival,
} from './special-functions.js';

/** Relative error against values computed with 40 digits. */
function expectRelative(actual: number, expected: number, tolerance: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(tolerance * Math.abs(expected));
}

describe('special functions', () => {
  it('erfc has a relative error below 1e-13 far into its tail', () => {
    for (const [x, expected] of [
      [0.001, 0.9988716212090307],
      [0.5, 0.4795001221869535],
      [1.4999, 0.03390674833770473],
      [1.5, 0.033894853524689274],
      [3, 2.209049699858544e-5],
      [10, 2.088487583762545e-45],
      [26.5, 2.2109076642637343e-307],
      [-2, 1.9953222650189528],
    ] as const) {
      expectRelative(erfc(x), expected, 1e-13);
    }
    expect([erfc(0), erfc(40), erfc(-40), erfc(Infinity)]).toEqual([1, 0, 2, 0]);
  });

  it('logGamma and incompleteBeta agree with high-precision values', () => {
    for (const [x, expected] of [
      [0.1, 2.252712651734206],
      [2.5, 0.2846828704729192],
      [15, 25.19122118273868],
      [100.25, 360.28455963776423],
      [123456.5, 1323898.630662737],
    ] as const) {
      expectRelative(logGamma(x), expected, 1e-13);
    }
    expect(Math.abs(logGamma(1))).toBeLessThan(1e-13);
    for (const [x, a, b, expected] of [
      [0.3, 2, 5, 0.579825],
      [0.5, 0.5, 0.5, 0.5],
      [0.99, 200, 3, 0.6712381710383893],
      [0.001, 1, 1000, 0.6323045752290359],
    ] as const) {
      expectRelative(incompleteBeta(x, a, b), expected, 1e-11);
      expectRelative(betaQuantile(expected, a, b), x, 1e-9);
    }
    expect([incompleteBeta(0, 2, 3), incompleteBeta(1, 2, 3)]).toEqual([0, 1]);
  });

  it('normal quantiles invert the survival function', () => {
    for (const [p, expected] of [
      [0.025, -1.9599639845400543],
      [1e-9, -5.9978070150076865],
      [0.9, 1.2815515655446004],
    ] as const) {
      expectRelative(normalQuantile(p), expected, 1e-13);
      expectRelative(1 - normalSurvival(expected), p, 1e-6);
    }
    expect([normalQuantile(0.5), normalQuantile(0), normalQuantile(1)]).toEqual([0, -Infinity, Infinity]);
  });
});
