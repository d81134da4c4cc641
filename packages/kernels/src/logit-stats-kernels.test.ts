import { generator, normal } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { LogitStatsKernels } from './logit-stats-kernels.js';
import { LOGIT_STATS_LENGTH } from './logit-stats-layout.js';
import { logitStats } from './reference/logit-stats.js';

const kernels = new LogitStatsKernels(Arena.create({ maximumBytes: 1 << 20 }));
const sums = (): Float64Array => new Float64Array(LOGIT_STATS_LENGTH);

describe('logitStats', () => {
  it('equals the reference bit for bit at any width, spread, mask and temperature', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 130 }),
        fc.constantFrom(0, 0.1, 3, 50, 1e4, 1e37),
        fc.constantFrom(0, 0.2, 0.7),
        fc.constantFrom(1, 1 / 0.7, 3, 0.01),
        fc.boolean(),
        fc.integer(),
        (vocabulary, scale, masked, inverseTemperature, pair, seed) => {
          const random = generator(seed);
          const logits = (): Float32Array =>
            normal(vocabulary, random, scale).map((value) => (random() < masked ? -Infinity : value));
          const performer = logits();
          const observer = pair ? logits() : undefined;
          const token = Math.floor(random() * (vocabulary + 1)) - 1;
          const [actual, expected] = [sums(), sums()];
          logitStats(observer, performer, vocabulary, token, inverseTemperature, expected);
          kernels.logitStats(observer, performer, vocabulary, token, inverseTemperature, actual);
          expect(actual[10]).toBe(expected[10]);
          if (expected[10] === 1) return;
          expect([...actual.subarray(0, 4), actual[9]]).toEqual([...expected.subarray(0, 4), expected[9]]);
          if (pair) expect(actual).toEqual(expected);
          expect(actual.every(Number.isFinite)).toBe(true);
        },
      ),
      { numRuns: 500, seed: 8 },
    );
  });

  it('gives the same bits for rows in pieces, outside and inside the arena', () => {
    const large = Arena.create({ maximumBytes: 1 << 20 });
    const inside = new LogitStatsKernels(large);
    const random = generator(10);
    for (const vocabulary of [16_383, 16_384, 16_385, 40_001]) {
      const [observer, performer] = [0, 1].map(() => normal(vocabulary, random, 4)) as [
        Float32Array,
        Float32Array,
      ];
      // Ties on both sides of the token, and a maximum in the last piece.
      const token = vocabulary - 100;
      performer[3] = performer[vocabulary - 2] = performer[token]!;
      observer[vocabulary - 1] = 30;
      const [expected, pieces, whole] = [sums(), sums(), sums()];
      logitStats(observer, performer, vocabulary, token, 0.7, expected);
      kernels.logitStats(observer, performer, vocabulary, token, 0.7, pieces);
      large.scope(() => {
        const [o, p] = [large.f32(vocabulary), large.f32(vocabulary)];
        o.set(observer);
        p.set(performer);
        inside.logitStats(o, p, vocabulary, token, 0.7, whole);
      });
      expect(pieces).toEqual(expected);
      expect(whole).toEqual(expected);
    }
  });

  it('has exponentials within 3e-14 of Math.exp, down to where they vanish', () => {
    // The maximum is 0 and one entry carries x: sum e x = x e^x.
    const row = new Float32Array(4);
    const out = sums();
    const random = generator(9);
    for (let i = 0; i < 20_000; i++) {
      row[1] = -700 * random() ** 3;
      kernels.logitStats(undefined, row, 4, -1, 1, out);
      const expected = row[1]! * Math.exp(row[1]!);
      expect(Math.abs(out[2]! - expected)).toBeLessThanOrEqual(3e-14 * Math.abs(expected));
    }
  });

  it('reports NaN, +Infinity and rows without a finite entry', () => {
    const out = sums();
    const flags = [
      [Number.NaN, 1, 2, 3, 4],
      [0, 1, 2, 3, Infinity],
      [-Infinity, -Infinity, -Infinity, -Infinity, -Infinity],
    ].map((row) => {
      kernels.logitStats(undefined, Float32Array.from(row), 5, 0, 1, out);
      const single = out[10];
      kernels.logitStats(Float32Array.from(row), new Float32Array(5), 5, 0, 1, out);
      return [single, out[10]];
    });
    expect(flags).toEqual([
      [1, 1],
      [1, 1],
      [1, 1],
    ]);
    // The two models share no possible token.
    kernels.logitStats(Float32Array.of(0, -Infinity), Float32Array.of(-Infinity, 0), 2, 0, 1, out);
    expect(out[10]).toBe(1);
  });

  it('names a bad token or temperature', () => {
    const row = new Float32Array(4);
    expect(() => kernels.logitStats(undefined, row.subarray(0, 3), 3, 3, 1, sums())).toThrow('at least 4');
    expect(() => kernels.logitStats(undefined, row, 3, 3, 1, sums())).toThrow('a token below 3');
    expect(() => kernels.logitStats(undefined, row, 4, 0, 0, sums())).toThrow('inverse temperature');
    expect(() => kernels.logitStats(undefined, row, 4, 0, 1, new Float64Array(4))).toThrow('11 elements');
  });
});
