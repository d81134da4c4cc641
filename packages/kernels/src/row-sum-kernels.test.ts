import { generator, normal } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import * as reference from './reference/index.js';
import { RowSumKernels } from './row-sum-kernels.js';

describe('RowSumKernels', () => {
  it('equals the reference at ragged sizes, one sum beside another', () => {
    const random = generator(3);
    const sizes = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 64, 100, 127, 256];
    const kernels = new RowSumKernels(
      Arena.create({ maximumBytes: RowSumKernels.bytesFor(256, 2 * sizes.length) }),
    );
    for (const n of sizes) {
      const [first, second] = [kernels.open(n), kernels.open(n)];
      const start = normal(n, random, 1);
      const row = new Uint16Array(n);
      reference.packBf16(normal(n, random, 1e3), row, n);
      const expected = Float32Array.from(start);
      first.values.set(start);
      second.values.set(start);
      first.bf16.set(row);
      first.addBf16();
      reference.addRowBf16(row, expected, n);
      expect(first.values).toEqual(expected);
      first.addScaledBf16(0.3);
      reference.addScaledRowBf16(row, 0.3, expected, n);
      expect(first.values).toEqual(expected);
      first.f32.set(start);
      first.addF32();
      first.addScaledF32(-1.7);
      reference.add(expected, start, expected, n);
      reference.addScaled(start, -1.7, expected, n);
      expect(first.values).toEqual(expected);
      const codes = new Uint16Array(n);
      reference.packBf16(expected, codes, n);
      first.packBf16();
      expect(first.bf16).toEqual(codes);
      expect(second.values).toEqual(start);
    }
  });

  it('keeps NaN, infinities and signed zeros', () => {
    const sum = new RowSumKernels(Arena.create({ maximumBytes: 1 << 16 })).open(4);
    sum.values.set([1, -0, Infinity, 1]);
    sum.bf16.set([0x7fff, 0x8000, 0xff80, 0x7f80]);
    sum.addBf16();
    expect([...sum.values]).toEqual([Number.NaN, -0, Number.NaN, Infinity]);
    sum.packBf16();
    expect([...sum.bf16]).toEqual([0x7fc0, 0x8000, 0x7fc0, 0x7f80]);
  });
});
