import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Lengths, Workload } from '../cost/deployment.js';
import { meanWaitSeconds, waitQuantileSeconds } from './queueing.js';
import { normalQuantile, quantileOf, trafficOf } from './traffic.js';

function workload(inputTokens: Lengths, outputTokens: Lengths, cachedFraction = 0): Workload {
  return { requestsPerSecond: 3, inputTokens, outputTokens, cachedFraction, arrivals: { kind: 'poisson' } };
}

describe('trafficOf', () => {
  it('counts the context of an answer by how long it decodes', () => {
    const fixed = trafficOf(
      workload({ kind: 'fixed', tokens: 4000 }, { kind: 'fixed', tokens: 1000 }, 0.5),
      0.9,
    );
    expect(fixed).toMatchObject({ newMean: 2000, cachedMean: 2000, newAtQuantile: 2000, contextMean: 4500 });
    // Answers of 100 and 1900 tokens: nearly all time is spent in the long ones.
    const mixed = trafficOf(
      workload({ kind: 'fixed', tokens: 4000 }, { kind: 'empirical', tokens: [100, 1900] }),
      0.9,
    );
    expect(mixed.contextMean).toBeCloseTo(4000 + (100 ** 2 + 1900 ** 2) / (2 * 2000), 6);
  });

  it('knows the moments of its distributions', () => {
    const lengths: Lengths = { kind: 'logNormal', mean: 1000, deviation: 0.8, maximum: 1 << 20 };
    const { inputMean, newVariation } = trafficOf(workload(lengths, { kind: 'fixed', tokens: 1 }), 0.5);
    expect(inputMean).toBeGreaterThan(990);
    expect(inputMean).toBeLessThan(1005);
    expect(newVariation).toBeGreaterThan(0.55);
    expect(newVariation).toBeLessThan(0.65);
    const uniform = trafficOf(
      workload({ kind: 'uniform', minimum: 10, maximum: 30 }, { kind: 'fixed', tokens: 1 }),
      0.75,
    );
    expect(uniform.inputMean).toBeCloseTo(20, 6);
    expect(uniform.newAtQuantile).toBeCloseTo(25, 6);
  });

  it('keeps at least one token to compute', () => {
    expect(
      trafficOf(workload({ kind: 'fixed', tokens: 7 }, { kind: 'fixed', tokens: 1 }, 1), 0.9),
    ).toMatchObject({
      newMean: 1,
      cachedMean: 6,
      newAtQuantile: 1,
    });
  });

  it('has quantiles that grow', () => {
    const lengths = fc.oneof(
      fc.record({
        kind: fc.constant('uniform' as const),
        minimum: fc.integer({ min: 1, max: 50 }),
        maximum: fc.integer({ min: 50, max: 1000 }),
      }),
      fc.record({
        kind: fc.constant('logNormal' as const),
        mean: fc.integer({ min: 1, max: 5000 }),
        deviation: fc.double({ min: 0, max: 3, noNaN: true }),
        maximum: fc.integer({ min: 1, max: 9000 }),
      }),
      fc.record({
        kind: fc.constant('empirical' as const),
        tokens: fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 20 }),
      }),
    );
    fc.assert(
      fc.property(lengths, fc.double({ min: 0.01, max: 0.98, noNaN: true }), (each, share) => {
        expect(quantileOf(each, share + 0.01)).toBeGreaterThanOrEqual(quantileOf(each, share));
      }),
      { seed: 3, numRuns: 200 },
    );
  });

  it('inverts the normal distribution', () => {
    expect(normalQuantile(0.975)).toBeCloseTo(1.959964, 4);
    expect(normalQuantile(0.1)).toBeCloseTo(-1.281552, 4);
    expect(normalQuantile(0.5)).toBe(0);
  });
});

describe('queues', () => {
  const single = { servers: 1, serviceSeconds: 2, arrivalVariation: 1, serviceVariation: 1 };

  it('are exact for M/M/1', () => {
    for (const utilisation of [0.1, 0.5, 0.9]) {
      const mean = meanWaitSeconds({ ...single, utilisation });
      expect(mean).toBeCloseTo((2 * utilisation) / (1 - utilisation), 9);
      // P(wait > t) = rho exp(-(1 - rho) t / service).
      const share = 0.99;
      const exact = Math.max(0, (2 / (1 - utilisation)) * Math.log(utilisation / (1 - share)));
      expect(waitQuantileSeconds({ ...single, utilisation }, share)).toBeCloseTo(exact, 9);
    }
  });

  it('are half as long with deterministic service, and endless at full load', () => {
    expect(meanWaitSeconds({ ...single, serviceVariation: 0, utilisation: 0.8 })).toBeCloseTo(4, 9);
    expect(meanWaitSeconds({ ...single, utilisation: 1 })).toBe(Number.POSITIVE_INFINITY);
  });

  it('shrink with more servers at the same load, and grow with load', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.double({ min: 0.01, max: 0.97, noNaN: true }),
        (servers, utilisation) => {
          const of = (c: number, rho: number) => meanWaitSeconds({ ...single, servers: c, utilisation: rho });
          expect(of(servers + 1, utilisation)).toBeLessThan(of(servers, utilisation));
          expect(of(servers, utilisation + 0.01)).toBeGreaterThan(of(servers, utilisation));
        },
      ),
      { seed: 5, numRuns: 200 },
    );
  });
});
