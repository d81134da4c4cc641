import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StepCostEstimator } from './step-cost.js';

/** Numbers in [0, 1) that repeat for a seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const cost = fc.record({
  base: fc.integer({ min: 100, max: 20_000 }),
  prefill: fc.integer({ min: 1, max: 500 }),
  decode: fc.integer({ min: 10, max: 2000 }),
  attended: fc.double({ min: 0.001, max: 0.2, noNaN: true }),
});

describe('StepCostEstimator', () => {
  it('learns linear costs from noisy steps, outliers among them', () => {
    fc.assert(
      fc.property(cost, fc.integer(), (truth, seed) => {
        const random = numbers(seed);
        const estimator = new StepCostEstimator();
        const draw = () => ({
          prefillTokens: random() < 0.5 ? 0 : Math.floor(random() * 512),
          decodeSequences: Math.floor(random() * 64),
          attendedTokens: Math.floor(random() * 100_000),
        });
        const timeOf = ({ prefillTokens, decodeSequences, attendedTokens }: ReturnType<typeof draw>) =>
          truth.base +
          truth.prefill * prefillTokens +
          truth.decode * decodeSequences +
          truth.attended * attendedTokens;
        for (let step = 0; step < 600; step++) {
          const features = draw();
          const noise = step % 50 === 49 ? 10 : 0.95 + 0.1 * random();
          estimator.observe(features, timeOf(features) * noise);
        }
        for (let check = 0; check < 20; check++) {
          const features = { ...draw(), decodeSequences: 8 + Math.floor(random() * 56) };
          expect(Math.abs(estimator.predictUs(features) / timeOf(features) - 1)).toBeLessThan(0.25);
        }
      }),
      { seed: 20_250_112, numRuns: 60 },
    );
  });

  it('follows costs that change, and stays finite when all steps are alike', () => {
    const estimator = new StepCostEstimator();
    const features = { prefillTokens: 0, decodeSequences: 16, attendedTokens: 4000 };
    expect(estimator.predictUs(features)).toBe(0);
    for (let step = 0; step < 20_000; step++) estimator.observe(features, 5000);
    expect(estimator.predictUs(features)).toBeCloseTo(5000, 3);
    for (let step = 0; step < 3000; step++) estimator.observe(features, 8000);
    expect(Math.abs(estimator.predictUs(features) - 8000)).toBeLessThan(400);
    estimator.observe(features, Number.NaN);
    const { baseUs, decodeSequenceUs } = estimator.costs;
    expect(Number.isFinite(baseUs + decodeSequenceUs)).toBe(true);
  });
});
