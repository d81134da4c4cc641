import { generator, normal } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../test/ulp.js';
import { Arena } from './arena.js';
import { Kernels } from './kernels.js';
import * as reference from './reference/index.js';

const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 22 }));
const lengths = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 24, 40, 63, 129, 1000];

describe('rmsNorm', () => {
  it('equals the reference bit for bit at any width and stride, also in place', () => {
    const random = generator(1);
    for (const cols of lengths) {
      const x = normal(3 * (cols + 1), random, 3);
      const gain = normal(cols, random);
      const options = { epsilon: 1e-6, xStride: cols + 1, outStride: cols + 2 };
      const expected = new Float32Array(3 * (cols + 2));
      const actual = new Float32Array(3 * (cols + 2));
      reference.rmsNorm(x, gain, expected, 3, cols, options);
      kernels.rmsNorm(x, gain, actual, 3, cols, options);
      expect(actual).toEqual(expected);
      kernels.arena.scope(() => {
        const inside = kernels.arena.f32(x.length);
        inside.set(x);
        kernels.rmsNorm(inside, gain, inside, 3, cols, {
          epsilon: 1e-6,
          xStride: cols + 1,
          outStride: cols + 1,
        });
        for (let i = 0; i < 3; i++) {
          expect(inside.slice(i * (cols + 1), i * (cols + 1) + cols)).toEqual(
            expected.slice(i * (cols + 2), i * (cols + 2) + cols),
          );
        }
      });
    }
  });
});

describe('rope', () => {
  it('equals the reference bit for bit and touches rotary dimensions only', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 5 }),
        fc.integer(),
        (rows, heads, pairs, offset, seed) => {
          const random = generator(seed);
          const dims = 2 * pairs;
          const headStride = offset + dims + 1;
          const rowStride = heads * headStride + 3;
          const table = normal(10 * dims, random);
          const positions = Int32Array.from({ length: rows }, () => Math.floor(random() * 10));
          const shape = { rows, heads, dims, rowStride, headStride, offset };
          const actual = normal(rows * rowStride, random);
          const expected = actual.slice();
          reference.rope(expected, table, positions, shape);
          kernels.rope(actual, table, positions, shape);
          expect(actual).toEqual(expected);
        },
      ),
      { numRuns: 100, seed: 2 },
    );
  });

  it('refuses positions beyond the table before it changes anything', () => {
    const x = Float32Array.of(1, 2, 3, 4);
    const shape = { rows: 2, heads: 1, dims: 2, rowStride: 2, headStride: 2, offset: 0 };
    expect(() => kernels.rope(x, new Float32Array(8), Int32Array.of(0, 4), shape)).toThrow(
      'from 0 to 3, got 4',
    );
    expect([...x]).toEqual([1, 2, 3, 4]);
  });
});

describe('softmax', () => {
  it('is within 8 units in the last place of the float64 reference', () => {
    const random = generator(3);
    for (const cols of lengths) {
      const x = normal(4 * (cols + 1), random, 5);
      const options = {
        stride: cols + 1,
        scale: 0.37,
        lengths: Int32Array.of(cols, Math.ceil(cols / 2), 1, 0),
      };
      const expected = x.slice();
      reference.softmax(expected, 4, cols, options);
      kernels.softmax(x, 4, cols, options);
      expectClose(x, expected, 8);
    }
  });

  it('gives 0 to -Infinity, and a zero row where nothing is finite', () => {
    const x = Float32Array.of(
      1,
      -Infinity,
      1,
      -Infinity,
      -Infinity,
      -Infinity,
      -Infinity,
      -Infinity,
      -Infinity,
      -Infinity,
    );
    kernels.softmax(x, 2, 5);
    expect([...x]).toEqual([0.5, 0, 0.5, 0, 0, 0, 0, 0, 0, 0]);
  });

  it('survives logits of any finite size', () => {
    const x = Float32Array.of(3e38, -3e38, 3e38, 0, 1e30);
    kernels.softmax(x, 1, 5);
    expect([...x]).toEqual([0.5, 0, 0.5, 0, 0]);
  });
});

describe('sigmoid, silu and siluMul', () => {
  const random = generator(4);
  const wide = Float32Array.from([
    ...Array.from({ length: 2001 }, (_, i) => (i - 1000) / 10),
    ...normal(1000, random, 4),
    0,
    -0,
    1e-30,
    1e38,
    -1e38,
    Infinity,
    -Infinity,
  ]);

  it('sigmoid is within 3 units in the last place and never NaN', () => {
    const [actual, expected] = [new Float32Array(wide.length), new Float32Array(wide.length)];
    kernels.sigmoid(wide, actual, wide.length);
    reference.sigmoid(wide, expected, wide.length);
    expectClose(actual, expected, 3, 2 ** -126);
  });

  it('silu is within 4 units in the last place and never NaN', () => {
    const [actual, expected] = [new Float32Array(wide.length), new Float32Array(wide.length)];
    kernels.silu(wide, actual, wide.length);
    reference.silu(wide, expected, wide.length);
    expectClose(actual, expected, 4, 2 ** -119);
  });

  it('siluMul multiplies by the second operand, in place too', () => {
    for (const n of lengths) {
      const gate = normal(n, random, 3);
      const up = normal(n, random);
      const expected = new Float32Array(n);
      reference.siluMul(gate, up, expected, n);
      kernels.siluMul(gate, up, gate, n);
      expectClose(gate, expected, 5);
    }
  });

  it('passes NaN on', () => {
    const out = new Float32Array(5);
    const x = new Float32Array(5).fill(Number.NaN);
    kernels.sigmoid(x, out, 5);
    expect(out.every(Number.isNaN)).toBe(true);
    kernels.silu(x, out, 5);
    expect(out.every(Number.isNaN)).toBe(true);
  });
});

describe('add, addScaled and toBf16', () => {
  it('equal their references bit for bit', () => {
    const random = generator(5);
    for (const n of lengths) {
      const x = normal(n, random);
      const y = normal(n, random);
      const [actual, expected] = [new Float32Array(n), new Float32Array(n)];
      kernels.add(x, y, actual, n);
      reference.add(x, y, expected, n);
      expect(actual).toEqual(expected);
      kernels.addScaled(x, 0.1, actual, n);
      reference.addScaled(x, 0.1, expected, n);
      expect(actual).toEqual(expected);
      kernels.toBf16(x, actual, n);
      reference.toBf16(x, expected, n);
      expect(actual).toEqual(expected);
    }
  });

  it('toBf16 rounds ties to even, to infinity on overflow, and keeps NaN and signed zero', () => {
    const bits = (value: number): Float32Array => new Float32Array(Uint32Array.of(value).buffer);
    const cases: [number, number][] = [
      [0x3f808000, 0x3f800000],
      [0x3f818000, 0x3f820000],
      [0x3f808001, 0x3f810000],
      [0x7f7fffff, 0x7f800000],
      [0x80000000, 0x80000000],
      [0x00008000, 0x00000000],
      [0x7f800000, 0x7f800000],
    ];
    for (const [from, to] of cases) {
      const out = new Float32Array(1);
      kernels.toBf16(bits(from), out, 1);
      expect(new Uint32Array(out.buffer)[0]).toBe(to);
    }
    const out = new Float32Array(1);
    kernels.toBf16(bits(0x7f800001), out, 1);
    expect(out[0]).toBeNaN();
  });
});
