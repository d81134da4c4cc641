import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BatchMeans } from './batch-means.js';
import { TokenScores } from './token-scores.js';

/** By the definition, on probabilities. */
function reference(p: readonly number[], q: readonly number[]): number {
  const softmax = (logits: readonly number[]): number[] => {
    const exponentials = logits.map((logit) => Math.exp(logit));
    const sum = exponentials.reduce((total, value) => total + value, 0);
    return exponentials.map((value) => value / sum);
  };
  const [a, b] = [softmax(p), softmax(q)];
  return a.reduce((sum, value, i) => sum + value * Math.log(value / b[i]!), 0);
}

function figuresOf(rows: readonly { p: number[]; q: number[]; target: number }[]): Map<string, number> {
  const scores = new TokenScores(true);
  for (const { p, q, target } of rows) {
    const prediction = { row: 0, vocabulary: p.length, target };
    scores.add({ logits: Float32Array.from(q), original: Float32Array.from(p), ...prediction });
    scores.addBytes(2);
  }
  return new Map(scores.figures().map(({ metric, of, value }) => [`${of} ${metric}`, value]));
}

const row = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 5, maxLength: 5 });

describe('TokenScores', () => {
  it('agrees with the definitions', () => {
    const rows = fc.array(fc.record({ p: row, q: row, target: fc.nat(4) }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(rows, (list) => {
        const figures = figuresOf(list);
        const mean = (pick: (entry: (typeof list)[number]) => number): number =>
          list.reduce((sum, entry) => sum + pick(entry), 0) / list.length;
        const loss = (logits: readonly number[], target: number): number =>
          Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[target]!;
        const subject = mean(({ q, target }) => loss(q, target));
        const baseline = mean(({ p, target }) => loss(p, target));
        expect(figures.get('subject negative-log-likelihood')).toBeCloseTo(subject, 9);
        expect(figures.get('subject perplexity')).toBeCloseTo(Math.exp(subject), 4);
        expect(figures.get('subject bits-per-byte')).toBeCloseTo(subject / Math.LN2 / 2, 9);
        expect(figures.get('comparison negative-log-likelihood-difference')).toBeCloseTo(
          subject - baseline,
          9,
        );
        expect(figures.get('comparison kl-divergence')).toBeCloseTo(
          mean(({ p, q }) => reference(p, q)),
          9,
        );
      }),
      { seed: 3, numRuns: 200 },
    );
  });

  it('a model agrees with itself', () => {
    const figures = figuresOf([{ p: [1, 2, 3], q: [1, 2, 3], target: 0 }]);
    expect(figures.get('comparison kl-divergence')).toBe(0);
    expect(figures.get('comparison kl-divergence-maximum')).toBe(0);
    expect(figures.get('comparison top-1-agreement')).toBe(1);
  });

  it('keeps quantiles beyond its first thousand tokens', () => {
    const rows = Array.from({ length: 3000 }, (_, i) => ({ p: [0, 0], q: [0, i / 3000], target: 0 }));
    const figures = figuresOf(rows);
    expect(figures.get('comparison kl-divergence-median')).toBeCloseTo(reference([0, 0], [0, 0.5]), 5);
    expect(figures.get('comparison kl-divergence-p99')).toBeCloseTo(reference([0, 0], [0, 0.99]), 5);
  });

  it('refuses a loss that is no number, and says what to look at', () => {
    expect(() => figuresOf([{ p: [0, 0], q: [Number.NaN, 0], target: 0 }])).toThrow(/model gives NaN/);
    expect(() => figuresOf([{ p: [-1 / 0, 0], q: [0, 0], target: 0 }])).toThrow(/baseline gives Infinity/);
  });
});

describe('BatchMeans', () => {
  it('gives no interval for few values, and one that covers the mean for many', () => {
    let state = 1;
    const uniform = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const means = new BatchMeans();
      for (let i = 0; i < 128 * 20; i++) means.add(uniform());
      const { low, high } = means.interval()!;
      if (low <= 0.5 && 0.5 <= high) covered++;
    }
    // 95% of 200, at 20 batches a little less; four standard deviations of a binomial.
    expect(covered).toBeGreaterThan(172);
    expect(covered).toBeLessThan(200);
    const few = new BatchMeans();
    for (let i = 0; i < 128 * 9; i++) few.add(1);
    expect(few.interval()).toBeUndefined();
  });
});
