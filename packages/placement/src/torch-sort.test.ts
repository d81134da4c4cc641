import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stableSortDescending, torchSortDescending } from './torch-sort.js';

function sort(
  run: typeof torchSortDescending,
  values: readonly number[],
): { order: number[]; keys: number[] } {
  const keys = Float32Array.from(values);
  const order = new Int32Array(values.length);
  run(keys, order, values.length);
  return { order: [...order], keys: [...keys] };
}

describe('torchSortDescending', () => {
  it('leaves twenty equal keys in the order of libstdc++', () => {
    const expected = [10, 19, 18, 17, 16, 15, 14, 13, 12, 11, 0, 9, 8, 7, 6, 5, 4, 3, 2, 1];
    expect(sort(torchSortDescending, new Array(20).fill(3)).order).toEqual(expected);
  });

  it('is stable up to sixteen keys', () => {
    const key = fc.nat(3);
    fc.assert(
      fc.property(fc.array(key, { maxLength: 16 }), (values) => {
        expect(sort(torchSortDescending, values)).toEqual(sort(stableSortDescending, values));
      }),
      { seed: 91 },
    );
  });

  it('sorts any keys, also those that drive it to its depth limit', () => {
    const organ = Array.from({ length: 4000 }, (_, i) => Math.min(i, 4000 - i));
    const inputs = fc.oneof(fc.array(fc.nat(50), { maxLength: 400 }), fc.constant(organ));
    fc.assert(
      fc.property(inputs, (values) => {
        const { order, keys } = sort(torchSortDescending, values);
        expect(keys).toEqual([...values].sort((a, b) => b - a));
        expect(new Set(order).size).toBe(values.length);
        expect(order.map((i) => values[i])).toEqual(keys);
      }),
      { seed: 92 },
    );
  });
});
