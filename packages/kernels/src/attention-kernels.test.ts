import { generator, normal } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { Kernels } from './kernels.js';
import * as reference from './reference/index.js';

const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 24 }));

/** Largest absolute difference. */
function difference(a: Float32Array, b: Float32Array): number {
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  return worst;
}

// Sums of at most a few hundred float32 products of values around 1; the reference sums in float64.
const BOUND = 2e-5;

describe('latentAttention', () => {
  it('agrees with the float64 reference at any head count, width, block size and context', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 19 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 90 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer(),
        (heads, rank, ropeDims, contextLength, blockSize, seed) => {
          const random = generator(seed);
          const width = rank + ropeDims;
          const used = Math.ceil(contextLength / blockSize);
          const blocks = used + 2;
          const blockTable = Int32Array.from({ length: used + 1 }, (_, i) => (i * 7 + 1) % blocks);
          const q = normal(heads * width + 2, random);
          const cache = normal(blocks * blockSize * width, random);
          const shape = {
            heads,
            rank,
            ropeDims,
            contextLength,
            blockSize,
            scale: width ** -0.5,
            blockTableOffset: 1,
            qOffset: 2,
            outOffset: 3,
          };
          const actual = normal(heads * rank + 4, random);
          const expected = actual.slice();
          reference.latentAttention(q, cache, blockTable, expected, shape);
          kernels.latentAttention(q, cache, blockTable, actual, shape);
          expect(difference(actual, expected)).toBeLessThan(BOUND);
          expect(actual[2]).toBe(expected[2]);
          expect(actual[actual.length - 1]).toBe(expected[expected.length - 1]);
        },
      ),
      { numRuns: 100, seed: 1 },
    );
  });

  it('refuses block ids outside the cache', () => {
    const shape = { heads: 1, rank: 4, ropeDims: 0, contextLength: 3, blockSize: 2, scale: 1 };
    const run = (table: Int32Array): void =>
      kernels.latentAttention(new Float32Array(4), new Float32Array(16), table, new Float32Array(4), shape);
    expect(() => run(Int32Array.of(0, 2))).toThrow('from 0 to 1, got 2');
    expect(() => run(Int32Array.of(0, -1))).toThrow('got -1');
    expect(() => run(Int32Array.of(0))).toThrow('at least 2 elements in blockTable');
  });
});

describe('causalAttention', () => {
  it('agrees with the float64 reference at any shape, start and stride', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 21 }),
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 0, max: 2 }),
        fc.integer(),
        (m, start, heads, qkDims, vDims, gap, seed) => {
          const random = generator(seed);
          const t = start + m + gap;
          const shape = {
            m,
            t,
            heads,
            qkDims,
            vDims,
            start,
            scale: qkDims ** -0.5,
            qHeadStride: qkDims + gap,
            kHeadStride: qkDims + vDims,
            vHeadStride: vDims + gap,
          };
          const q = normal(m * heads * (qkDims + gap), random);
          const k = normal(t * heads * (qkDims + vDims), random);
          const v = normal(t * heads * (vDims + gap), random);
          const [actual, expected] = [
            new Float32Array(m * heads * vDims),
            new Float32Array(m * heads * vDims),
          ];
          reference.causalAttention(q, k, v, expected, shape);
          kernels.causalAttention(q, k, v, actual, shape);
          expect(difference(actual, expected)).toBeLessThan(BOUND);
        },
      ),
      { numRuns: 100, seed: 2 },
    );
  });

  it('gives a query the same bits in one call and in chunks', () => {
    const random = generator(3);
    const [heads, qkDims, vDims, t] = [2, 12, 8, 29];
    const q = normal(t * heads * qkDims, random);
    const k = normal(t * heads * qkDims, random);
    const v = normal(t * heads * vDims, random);
    const base = { heads, qkDims, vDims, scale: 0.3 };
    const whole = new Float32Array(t * heads * vDims);
    kernels.causalAttention(q, k, v, whole, { ...base, m: t, t, start: 0 });
    const chunked = new Float32Array(t * heads * vDims);
    for (let start = 0; start < t; start += 11) {
      const m = Math.min(11, t - start);
      const out = chunked.subarray(start * heads * vDims);
      kernels.causalAttention(q.subarray(start * heads * qkDims), k, v, out, {
        ...base,
        m,
        t: start + m,
        start,
      });
    }
    expect(chunked).toEqual(whole);
  });

  it('ignores what lies behind a query, even infinity', () => {
    const k = Float32Array.of(1, 1, Infinity, 1);
    const v = Float32Array.of(1, 2, 3, 4);
    const out = new Float32Array(2);
    kernels.causalAttention(Float32Array.of(1, 1), k, v, out, {
      m: 2,
      t: 4,
      heads: 1,
      qkDims: 1,
      vDims: 1,
      start: 0,
      scale: 1,
    });
    expect([...out]).toEqual([1, 1.5]);
  });
});
