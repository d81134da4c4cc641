import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Arrivals, Lengths, Workload } from '../cost/deployment.js';
import { blankRequest } from './request-source.js';
import { longestLength, meanLength, syntheticRequests } from './synthetic.js';

const base: Workload = {
  requestsPerSecond: 50,
  inputTokens: { kind: 'fixed', tokens: 100 },
  outputTokens: { kind: 'fixed', tokens: 10 },
  cachedFraction: 0.25,
  arrivals: { kind: 'poisson' },
};

function draw(
  workload: Workload,
  requests: number,
  seed = 1,
): { gaps: number[]; inputs: number[]; cached: number[] } {
  const source = syntheticRequests(workload, { requests, seed });
  const request = blankRequest();
  const result = { gaps: [] as number[], inputs: [] as number[], cached: [] as number[] };
  let previousUs = 0;
  while (source.next(request)) {
    result.gaps.push(request.arrivalUs - previousUs);
    result.inputs.push(request.inputTokens);
    result.cached.push(request.cachedTokens);
    previousUs = request.arrivalUs;
  }
  return result;
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe('syntheticRequests', () => {
  it.each<Arrivals>([
    { kind: 'poisson' },
    { kind: 'gamma', deviation: 2 },
    { kind: 'gamma', deviation: 0.5 },
    { kind: 'gamma', deviation: 0.001 },
    { kind: 'bursts', factor: 10, burstSeconds: 0.5 },
    { kind: 'bursts', factor: 10, burstSeconds: 1e-6 },
  ])('keeps the mean rate of %j', (arrivals) => {
    const { gaps } = draw({ ...base, arrivals }, 40_000);
    expect(mean(gaps)).toBeGreaterThan(19_000);
    expect(mean(gaps)).toBeLessThan(21_000);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0);
  });

  it('comes in bursts as dense as asked', () => {
    const { gaps } = draw({ ...base, arrivals: { kind: 'bursts', factor: 10, burstSeconds: 1 } }, 20_000);
    const short = gaps.filter((gap) => gap < 100_000);
    expect(mean(short)).toBeGreaterThan(1800);
    expect(mean(short)).toBeLessThan(2200);
  });

  it.each<Lengths>([
    { kind: 'fixed', tokens: 77 },
    { kind: 'uniform', minimum: 10, maximum: 30 },
    { kind: 'logNormal', mean: 400, deviation: 0.8, maximum: 100_000 },
    { kind: 'empirical', tokens: [1, 5, 9] },
  ])('keeps the mean of %j', (inputTokens) => {
    const { inputs } = draw({ ...base, inputTokens }, 40_000);
    expect(mean(inputs) / meanLength(inputTokens)).toBeGreaterThan(0.97);
    expect(mean(inputs) / meanLength(inputTokens)).toBeLessThan(1.03);
    expect(inputs.reduce((a, b) => Math.max(a, b), 0)).toBeLessThanOrEqual(longestLength(inputTokens));
  });

  it('always leaves a token to compute, and is the same for the same seed', () => {
    fc.assert(
      fc.property(fc.integer(), fc.double({ min: 0, max: 1, noNaN: true }), (seed, cachedFraction) => {
        const workload: Workload = {
          ...base,
          cachedFraction,
          inputTokens: { kind: 'logNormal', mean: 5, deviation: 3, maximum: 50 },
        };
        const { inputs, cached } = draw(workload, 50, seed);
        inputs.forEach((tokens, i) => {
          expect(cached[i]).toBeLessThan(tokens);
          expect(cached[i]).toBeGreaterThanOrEqual(0);
        });
        expect(draw(workload, 50, seed)).toEqual(draw(workload, 50, seed));
      }),
      { seed: 13, numRuns: 50 },
    );
  });
});
