import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { balanceMetrics } from './balance.js';

describe('balanceMetrics', () => {
  it('keeps the two balancedness figures apart', () => {
    const metrics = balanceMetrics([4, 4, 1, 3], 2);
    expect(metrics.meanOfRatios).toBeCloseTo((1 + 2 / 3) / 2, 5);
    expect(metrics.ratioOfSums).toBe(6 / 7);
    expect(metrics.maxViolation).toBe(0.25);
    expect(metrics.worstViolation).toBe(0.5);
    expect(metrics.coefficientOfVariation).toBeCloseTo(0.25, 12);
    expect(metrics.gini).toBeCloseTo(0.125, 12);
    expect(metrics.jain).toBeCloseTo((1 + 16 / 20) / 2, 12);
  });

  it('calls empty rows perfectly even', () => {
    expect(balanceMetrics(new Float64Array(6), 3)).toEqual({
      meanOfRatios: 1,
      ratioOfSums: 1,
      maxViolation: 0,
      worstViolation: 0,
      coefficientOfVariation: 0,
      gini: 0,
      jain: 1,
      entropy: 1,
    });
  });

  it('never leaves its range', () => {
    const value = fc.oneof(
      fc.constant(0),
      fc.double({ min: 0, max: 1e300, noNaN: true }),
      fc.integer({ min: 0, max: 100 }),
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 12 }), (loads) => {
        const metrics = balanceMetrics(loads, loads.length);
        for (const figure of Object.values(metrics)) expect(Number.isFinite(figure)).toBe(true);
        for (const figure of [metrics.meanOfRatios, metrics.ratioOfSums, metrics.jain, metrics.entropy]) {
          expect(figure).toBeGreaterThanOrEqual(0);
          expect(figure).toBeLessThanOrEqual(1 + 1e-9);
        }
        expect(metrics.gini).toBeGreaterThanOrEqual(-1e-12);
        expect(metrics.gini).toBeLessThan(1);
      }),
      { seed: 4 },
    );
  });

  it('refuses ragged rows and what is no load', () => {
    expect(() => balanceMetrics([1, 2, 3], 2)).toThrowError(/rows/);
    expect(() => balanceMetrics([1, Number.NaN], 2)).toThrowError(/finite/);
    expect(() => balanceMetrics([1, -1], 2)).toThrowError(/at least 0/);
  });
});
