import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelError } from './errors.js';
import { argmax, createSamplerState, Sampler } from './sampler.js';
import type { SamplingOptions } from './sampling-options.js';

const logits = Float32Array.of(1, 3, 2, 3, -1, 0);

function counts(values: Float32Array, options: SamplingOptions, draws: number): number[] {
  const sampler = new Sampler();
  const state = createSamplerState(options);
  const result = new Array<number>(values.length).fill(0);
  for (let i = 0; i < draws; i++) {
    const token = sampler.sample(values, 0, values.length, state);
    result[token] = result[token]! + 1;
  }
  return result;
}

function support(options: SamplingOptions): number[] {
  return counts(logits, options, 4000).flatMap((count, token) => (count > 0 ? [token] : []));
}

describe('Sampler', () => {
  it('takes the lowest id of equal logits when greedy', () => {
    expect(new Sampler().sample(logits, 0, 6, createSamplerState({ temperature: 0 }))).toBe(1);
    expect(new Sampler().sample(logits, 2, 4, createSamplerState({ temperature: 0 }))).toBe(1);
  });

  it('draws by probability', () => {
    const draws = 40_000;
    const weights = [...logits].map((value) => Math.exp(value / 2));
    const sum = weights.reduce((a, b) => a + b);
    const observed = counts(logits, { temperature: 2, seed: 5 }, draws);
    // Four standard deviations of a binomial share.
    weights.forEach((weight, token) => {
      const share = weight / sum;
      const bound = 4 * Math.sqrt((share * (1 - share)) / draws);
      expect(Math.abs(observed[token]! / draws - share)).toBeLessThanOrEqual(bound);
    });
  });

  it('keeps the k best, the lowest ids among equals', () => {
    expect(support({ topK: 1 })).toEqual([1]);
    expect(support({ topK: 2 })).toEqual([1, 3]);
    expect(support({ topK: 3 })).toEqual([1, 2, 3]);
    expect(support({ topK: -1 })).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('keeps the smallest set that reaches top-p', () => {
    // Shares: 0.391, 0.391, 0.144, 0.053, 0.019 and 0.007 for tokens 1, 3, 2, 0, 5 and 4.
    expect(support({ topP: 0.3 })).toEqual([1]);
    expect(support({ topP: 0.5 })).toEqual([1, 3]);
    expect(support({ topP: 0.9 })).toEqual([1, 2, 3]);
    expect(support({ topP: 0.95 })).toEqual([0, 1, 2, 3]);
  });

  it('counts top-p among what top-k left', () => {
    expect(support({ topK: 2, topP: 0.6 })).toEqual([1, 3]);
    expect(support({ topK: 2, topP: 0.45 })).toEqual([1]);
  });

  it('keeps tokens at least min-p as probable as the best', () => {
    expect(support({ minP: 0.3 })).toEqual([1, 2, 3]);
    expect(support({ minP: 1 })).toEqual([1, 3]);
    expect(support({ minP: 0.3, topK: 2 })).toEqual([1, 3]);
  });

  it('repeats itself for one seed and differs for others', () => {
    const run = (seed: number) => {
      const state = createSamplerState({ seed });
      const sampler = new Sampler();
      return Array.from({ length: 50 }, () => sampler.sample(logits, 0, 6, state));
    };
    expect(run(3)).toEqual(run(3));
    expect(run(3)).not.toEqual(run(4));
    expect(run(3)).not.toEqual(run(3 + 2 ** 32));
  });

  it('never leaves the set that a plain implementation of the filters keeps', () => {
    const sampler = new Sampler();
    fc.assert(
      fc.property(
        // Quarters: logits that differ give weights that differ.
        fc.array(fc.integer({ min: -80, max: 80 }), { minLength: 1, maxLength: 60 }),
        fc.record({
          temperature: fc.double({ min: 0.05, max: 5, noNaN: true }),
          topK: fc.integer({ min: 0, max: 70 }),
          topP: fc.double({ min: 0.01, max: 1, noNaN: true }),
          minP: fc.double({ min: 0, max: 1, noNaN: true }),
          seed: fc.integer(),
        }),
        (values, options) => {
          const row = Float32Array.from(values, (value) => value / 4);
          const state = createSamplerState(options);
          const kept = plainFilter(row, options);
          for (let i = 0; i < 5; i++) expect(kept).toContain(sampler.sample(row, 0, row.length, state));
        },
      ),
      { numRuns: 500, seed: 11 },
    );
  });

  it('survives logits that are not numbers', () => {
    const row = Float32Array.of(Number.NaN, 1, -Infinity);
    expect(argmax(row, 0, 3)).toBe(1);
    expect(new Sampler().sample(row, 0, 3, createSamplerState({ seed: 1 }))).toBe(1);
  });

  it('gives log-probabilities of the distribution before temperature', () => {
    const { logprob, topTokens, topLogprobs } = new Sampler().logprobs(logits, 0, 6, 2, 3);
    const logSum = Math.log([...logits].reduce((sum, value) => sum + Math.exp(value), 0));
    expect(logprob).toBeCloseTo(2 - logSum, 12);
    expect([...topTokens]).toEqual([1, 3, 2]);
    expect(topLogprobs[0]).toBeCloseTo(3 - logSum, 12);
    expect(new Sampler().logprobs(logits, 0, 6, 0, 99).topTokens.length).toBe(6);
  });

  it.each([
    ['temperature', -0.1],
    ['temperature', Number.NaN],
    ['temperature', 101],
    ['topP', 0],
    ['topP', 1.1],
    ['topK', 1.5],
    ['topK', -2],
    ['minP', -1],
    ['minP', 2],
    ['seed', 0.5],
  ])('refuses %s = %s with the value and the range', (field, value) => {
    try {
      createSamplerState({ [field]: value });
      expect.unreachable();
    } catch (error) {
      expect(ModelError.isInstance(error) && error.code).toBe('model/bad-sampling');
      expect((error as ModelError).message).toContain(field);
      expect((error as ModelError).value).toBe(value);
    }
  });
});

function plainFilter(
  row: Float32Array,
  options: { temperature: number; topK: number; topP: number; minP: number },
): number[] {
  const best = Math.max(...row);
  let kept = [...row].map((value, id) => ({ id, weight: Math.exp((value - best) / options.temperature) }));
  kept.sort((a, b) => b.weight - a.weight || a.id - b.id);
  if (options.topK > 0) kept = kept.slice(0, options.topK);
  const total = kept.reduce((sum, entry) => sum + entry.weight, 0);
  let sum = 0;
  // The slack allows for another order of the sum.
  const nucleus = kept.filter((entry) => {
    const keep = sum < options.topP * total * (1 + 1e-12);
    sum += entry.weight;
    return keep;
  });
  return nucleus.filter((entry) => entry.weight >= options.minP).map((entry) => entry.id);
}
