import { decode } from '@moestack/fp8';
import type { WeightData } from '@moestack/kernels';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstToken, ownerOf } from './tensor-share.js';
import { sliceWeight } from './weight-slices.js';

function codes(rows: number, cols: number): WeightData {
  const data = Uint8Array.from({ length: rows * cols }, (_, i) => (i * 89 + (i >> 7)) % 120);
  const blocks = Math.ceil(rows / 128) * Math.ceil(cols / 128);
  const scales = Float32Array.from({ length: blocks }, (_, i) => 1 + i);
  return { format: 'e4m3fn', rows, cols, data, scales };
}

/** The values that a matrix of codes stands for. */
function values({ cols, data, scales }: WeightData): Float32Array {
  const stride = Math.ceil(cols / 128);
  const plain = decode('e4m3fn', data as Uint8Array);
  return plain.map((value, i) => {
    const row = Math.floor(i / cols);
    return value * scales![Math.floor(row / 128) * stride + Math.floor((i % cols) / 128)]!;
  });
}

describe('slices of FP8 weights', () => {
  it('hold the values of their rows or columns, whatever blocks of scales they cut', () => {
    const size = fc.integer({ min: 1, max: 400 });
    const axis = fc.constantFrom('rows' as const, 'columns' as const);
    fc.assert(
      fc.property(size, size, axis, fc.nat(), fc.nat(), (long, short, along, a, b) => {
        const other = 1 + (short % 140);
        const whole = along === 'rows' ? codes(long, other) : codes(other, long);
        const first = a % long;
        const count = 1 + (b % (long - first));
        const expected = values(whole);
        const pieces = sliceWeight(whole, { axis: along, first, count });
        let seen = 0;
        for (const { data, offset } of pieces) {
          expect(offset).toBe(seen);
          seen += along === 'rows' ? data.rows : data.cols;
          const found = values(data);
          const same = found.every((value, i) => {
            const row = Math.floor(i / data.cols) + (along === 'rows' ? first + offset : 0);
            const column = (i % data.cols) + (along === 'columns' ? first + offset : 0);
            return value === expected[row * whole.cols + column];
          });
          expect(same).toBe(true);
        }
        expect(seen).toBe(count);
        expect(pieces.length).toBeLessThanOrEqual(2);
      }),
      { seed: 11, numRuns: 60 },
    );
  });

  it('are refused outside the matrix', () => {
    const whole = codes(4, 4);
    expect(() => sliceWeight(whole, { axis: 'rows', first: 3, count: 2 })).toThrow(RangeError);
    expect(() => sliceWeight(whole, { axis: 'columns', first: -1, count: 2 })).toThrow(RangeError);
    expect(() => sliceWeight(whole, { axis: 'columns', first: 0, count: 0 })).toThrow(RangeError);
  });
});

describe('rows outside attention', () => {
  it('belong to one rank each, in order, in parts that differ by at most one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 64 }), (tokens, size) => {
        const parts = Array.from(
          { length: size },
          (_, i) => firstToken(tokens, i + 1, size) - firstToken(tokens, i, size),
        );
        expect(parts.reduce((sum, part) => sum + part, 0)).toBe(tokens);
        expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
        for (let token = 0; token < tokens; token++) {
          const owner = ownerOf(token, tokens, size);
          if (token >= firstToken(tokens, owner, size) && token < firstToken(tokens, owner + 1, size))
            continue;
          throw new Error(`token ${token} of ${tokens} is not of rank ${owner} of ${size}`);
        }
      }),
      { seed: 12, numRuns: 200 },
    );
  });
});
