import { generator, normal } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomWeight } from '../test/random-weight.js';
import { Arena } from './arena.js';
import { Kernels } from './kernels.js';
import * as reference from './reference/index.js';
import type { WeightFormat } from './types.js';

const formats: WeightFormat[] = ['f32', 'bf16', 'e4m3fn'];
const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 26 }));
const { arena } = kernels;

/** A copy inside the arena. */
function placed(values: Float32Array): Float32Array {
  const view = arena.f32(values.length);
  view.set(values);
  return view;
}

const shapes = fc.record({
  format: fc.constantFrom(...formats),
  rows: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 100, max: 300 })),
  cols: fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 100, max: 400 })),
  m: fc.integer({ min: 1, max: 11 }),
  seed: fc.integer(),
  layout: fc.constantFrom<'panels' | 'rows'>('panels', 'rows'),
  accumulate: fc.boolean(),
  gap: fc.integer({ min: 0, max: 3 }),
  inside: fc.boolean(),
});

describe('linear', () => {
  it('equals the reference bit for bit at ragged sizes, strides and both layouts', () => {
    fc.assert(
      fc.property(shapes, ({ format, rows, cols, m, seed, layout, accumulate, gap, inside }) => {
        arena.scope(() => {
          const random = generator(seed);
          const data = randomWeight(format, rows, cols, random);
          const x = normal(m * (cols + gap), random);
          const out = normal(m * (rows + gap), random);
          const options = { xStride: cols + gap, outStride: rows + gap, accumulate };
          const expected = out.slice();
          reference.linear(data, x, expected, m, options);
          const weight = kernels.pack(data, { layout });
          const actual = inside ? placed(out) : out;
          kernels.linear(weight, inside ? placed(x) : x, actual, m, options);
          expect(actual).toEqual(expected);
        });
      }),
      { numRuns: 150, seed: 1 },
    );
  });

  it('equals the reference for row ranges', () => {
    fc.assert(
      fc.property(shapes, fc.nat(299), fc.nat(299), ({ format, rows, cols, m, seed, accumulate }, a, b) => {
        arena.scope(() => {
          const random = generator(seed);
          const data = randomWeight(format, rows, cols, random);
          const rowStart = a % rows;
          const rowCount = 1 + (b % (rows - rowStart));
          const weight = kernels.pack(data, { layout: 'rows' });
          const options = { rowStart, rowCount, accumulate };
          const x = normal(m * cols, random);
          const out = normal(m * rowCount, random);
          const expected = out.slice();
          reference.linear(data, x, expected, m, options);
          kernels.linear(weight, x, out, m, options);
          expect(out).toEqual(expected);
          const y = normal(m * rowCount, random);
          const back = normal(m * cols, random);
          const expectedBack = back.slice();
          reference.linearTransposed(data, y, expectedBack, m, options);
          kernels.linearTransposed(weight, y, back, m, options);
          expect(back).toEqual(expectedBack);
        });
      }),
      { numRuns: 100, seed: 2 },
    );
  });

  it.each(formats)('splits many rows and columns into chunks without changing a bit (%s)', (format) => {
    arena.scope(() => {
      const random = generator(3);
      const [rows, cols, m] = [19, 1300, 131];
      const data = randomWeight(format, rows, cols, random);
      const x = normal(m * cols, random);
      const expected = new Float32Array(m * rows);
      reference.linear(data, x, expected, m);
      const actual = new Float32Array(m * rows);
      kernels.linear(kernels.pack(data), x, actual, m);
      expect(actual).toEqual(expected);
    });
  });

  it('gives a row the same bits alone and in a batch', () => {
    arena.scope(() => {
      const random = generator(4);
      const weight = kernels.pack(randomWeight('e4m3fn', 72, 384, random));
      const x = normal(9 * 384, random);
      const batch = new Float32Array(9 * 72);
      kernels.linear(weight, x, batch, 9);
      for (let i = 0; i < 9; i++) {
        const alone = new Float32Array(72);
        kernels.linear(weight, x.subarray(i * 384, (i + 1) * 384), alone, 1);
        expect(alone).toEqual(batch.slice(i * 72, (i + 1) * 72));
      }
    });
  });

  it.each([1, 3, 8])('decodes all 256 E4M3 codes exactly (m = %i)', (m) => {
    arena.scope(() => {
      // Column c holds one code in each row; activations pick one column at a time.
      const data = Uint8Array.from({ length: 256 * 256 }, (_, i) => (i >> 8 === (i & 255) ? i & 255 : 0));
      for (const layout of ['panels', 'rows'] as const) {
        const weight = kernels.pack({ format: 'e4m3fn', rows: 256, cols: 256, data }, { layout });
        const out = new Float32Array(m * 256);
        kernels.linear(weight, new Float32Array(m * 256).fill(1), out, m);
        const back = new Float32Array(m * 256);
        if (layout === 'rows') kernels.linearTransposed(weight, new Float32Array(m * 256).fill(1), back, m);
        for (let i = 0; i < m; i++) {
          for (let code = 0; code < 256; code++) {
            expect(out[i * 256 + code]! + 0).toBe(reference.decodeE4m3(code) + 0);
            if (layout === 'rows') expect(back[i * 256 + code]! + 0).toBe(reference.decodeE4m3(code) + 0);
          }
        }
      }
    });
  });

  it('turns whole output columns into NaN where a code is NaN', () => {
    arena.scope(() => {
      const data = new Uint8Array(40 * 24).fill(0x38);
      data[5 * 24 + 3] = 0x7f;
      data[17 * 24] = 0xff;
      const weight = kernels.pack({ format: 'e4m3fn', rows: 40, cols: 24, data }, { layout: 'rows' });
      const out = new Float32Array(2 * 40);
      kernels.linear(weight, new Float32Array(2 * 24).fill(1), out, 2);
      const nanRows = [...out.keys()].filter((i) => Number.isNaN(out[i]));
      expect(nanRows).toEqual([5, 17, 45, 57]);
      const ranged = new Float32Array(10);
      kernels.linear(weight, new Float32Array(24).fill(1), ranged, 1, { rowStart: 10, rowCount: 10 });
      expect([...ranged.keys()].filter((i) => Number.isNaN(ranged[i]))).toEqual([7]);
      const back = new Float32Array(24);
      kernels.linearTransposed(weight, new Float32Array(40), back, 1);
      expect([...back.keys()].filter((i) => Number.isNaN(back[i]))).toEqual([0, 3]);
    });
  });
});

describe('linearW8A8', () => {
  it('equals the reference bit for bit', () => {
    fc.assert(
      fc.property(
        shapes,
        fc.constantFrom<'f32' | 'powerOfTwo'>('f32', 'powerOfTwo'),
        ({ rows, cols, m, seed, layout, gap }, scale) => {
          arena.scope(() => {
            const random = generator(seed);
            const data = randomWeight('e4m3fn', rows, cols, random);
            const x = normal(m * cols, random, 10 ** (random() * 8 - 4));
            const options = { scale, outStride: rows + gap };
            const expected = new Float32Array(m * (rows + gap));
            reference.linearW8A8(data, x, expected, m, options);
            const actual = new Float32Array(m * (rows + gap));
            kernels.linearW8A8(kernels.pack(data, { layout }), x, actual, m, options);
            expect(actual).toEqual(expected);
          });
        },
      ),
      { numRuns: 100, seed: 5 },
    );
  });
});

describe('gemm', () => {
  it('equals the reference bit for bit for both orders of b', () => {
    fc.assert(
      fc.property(shapes, fc.boolean(), ({ rows, cols, m, seed, gap, accumulate }, transposeB) => {
        arena.scope(() => {
          const random = generator(seed);
          const n = rows;
          const k = cols;
          const ldb = (transposeB ? k : n) + gap;
          const a = normal(m * (k + gap), random);
          const b = normal((transposeB ? n : k) * ldb, random);
          const out = normal(m * (n + gap), random);
          const shape = { m, n, k, lda: k + gap, ldb, ldc: n + gap, transposeB, accumulate };
          const expected = out.slice();
          reference.gemm(a, b, expected, shape);
          kernels.gemm(a, b, out, shape);
          expect(out).toEqual(expected);
        });
      }),
      { numRuns: 100, seed: 6 },
    );
  });
});
