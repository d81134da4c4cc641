import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  alignPermutation,
  alignPermutationInto,
  allocateAlignedLayout,
  allocatePermutation,
  combineRows,
  createRandom,
  indicesFromMask,
  maskFromIndices,
  permuteRows,
  permuteValues,
  planPermutation,
  planPermutationInto,
  RoutingError,
} from '../src/index.js';
import { balanceCases, flat } from './balance-cases.js';

describe.each(balanceCases)('permutation of $name', ({ data }) => {
  const { permute, E: experts, K: topK, T: tokens } = data;
  const indices = flat(data.routed_sigmoid_indices);
  const plan = planPermutation(indices, tokens, { experts, topK });

  it('sorts by expert, then token, then slot', () => {
    expect([...plan.sortedFlat]).toEqual(permute.sorted_flat);
    expect([...plan.sortedToken]).toEqual(permute.sorted_token);
    expect([...plan.counts]).toEqual(permute.counts);
    expect([...plan.offsets]).toEqual(permute.offsets);
    expect([...plan.inverse]).toEqual(permute.inverse);
  });

  it.each([
    [4, permute.align4],
    [16, permute.align16],
    [128, permute.align128],
  ])('pads to blocks of %d', (alignment, expected) => {
    const layout = alignPermutation(plan, alignment);
    expect([...layout.paddedCounts]).toEqual(expected.padded_counts);
    expect([...layout.paddedOffsets]).toEqual(expected.padded_offsets);
    expect(layout.paddedTotal).toBe(expected.padded_total);
    expect(layout.padValue).toBe(expected.pad_value);
    expect([...layout.blockExpertIds]).toEqual(expected.block_expert_ids);
    if (expected.sorted_ids !== null) expect([...layout.sortedIds]).toEqual(expected.sorted_ids);
  });

  it.each([undefined, 4, 128])('combines what the experts gave (alignment %s)', (alignment) => {
    const { x, expert_scale, weights, y } = permute.combine;
    const columns = x[0]!.length;
    const options =
      alignment === undefined ? { columns } : { columns, layout: alignPermutation(plan, alignment) };
    const offsets = options.layout?.paddedOffsets ?? plan.offsets;
    const rows = permuteRows(Float64Array.from(x.flat()), plan, options);
    for (let e = 0; e < experts; e++) {
      for (let i = offsets[e]! * columns; i < offsets[e + 1]! * columns; i++) rows[i]! *= expert_scale[e]!;
    }
    const combined = combineRows(rows, plan, { ...options, weights: Float64Array.from(weights.flat()) });
    y.flat().forEach((value, i) => {
      expect(Math.abs(combined[i]! - value)).toBeLessThanOrEqual(1e-14);
    });
    const single = combineRows(Float32Array.from(rows), plan, {
      ...options,
      weights: Float32Array.from(weights.flat()),
    });
    y.flat().forEach((value, i) => {
      expect(Math.abs(single[i]! - value)).toBeLessThanOrEqual(1e-6);
    });
  });

  it('gives the same token order from the matrix form', () => {
    const { mask } = maskFromIndices(indices, tokens, { experts, topK });
    const back = indicesFromMask(mask, tokens, { experts, topK });
    const fromMask = planPermutation(back.indices, tokens, { experts, topK });
    expect([...fromMask.sortedToken]).toEqual(permute.sorted_token);
    expect([...fromMask.counts]).toEqual(permute.counts);
  });
});

interface Situation {
  experts: number;
  topK: number;
  tokens: number;
  columns: number;
  ids: Int32Array;
}

const situations: fc.Arbitrary<Situation> = fc
  .record({
    experts: fc.integer({ min: 1, max: 9 }),
    topK: fc.integer({ min: 1, max: 4 }),
    tokens: fc.integer({ min: 0, max: 20 }),
    columns: fc.constantFrom(1, 3, 64, 130),
  })
  .chain((shape) =>
    fc
      .array(fc.integer({ min: -1, max: shape.experts - 1 }), {
        minLength: shape.tokens * shape.topK,
        maxLength: shape.tokens * shape.topK,
      })
      .map((ids) => ({ ...shape, ids: Int32Array.from(ids) })),
  );

const seeded = { seed: 20_250_105, numRuns: 150 };

describe('permuteRows and combineRows', () => {
  it('give x * sum of weights back, with and without padding, in every payload', () => {
    fc.assert(
      fc.property(
        situations,
        fc.constantFrom(0, 1, 4, 16),
        ({ experts, topK, tokens, columns, ids }, alignment) => {
          const plan = planPermutation(ids, tokens, { experts, topK });
          const options =
            alignment === 0 ? { columns } : { columns, layout: alignPermutation(plan, alignment) };
          // Small integers and quarters, so that every sum is exact in bfloat16 too.
          const x = Float32Array.from({ length: tokens * columns }, (_, i) => ((i * 7) % 15) - 7);
          const weights = Float32Array.from(ids, (_, i) => ((i * 5) % 4) / 4);
          const expected = x.map((value, i) => {
            const token = Math.floor(i / columns);
            let sum = 0;
            for (let k = 0; k < topK; k++) if (ids[token * topK + k]! >= 0) sum += weights[token * topK + k]!;
            return value * sum;
          });
          const same = (values: ArrayLike<number>) => {
            let wrong = 0;
            for (let i = 0; i < expected.length; i++) if (values[i]! - expected[i]! !== 0) wrong++;
            expect(wrong).toBe(0);
          };
          same(combineRows(permuteRows(x, plan, options), plan, { ...options, weights }));
          same(combineRows(permuteRows(Float64Array.from(x), plan, options), plan, { ...options, weights }));
          const half = Uint16Array.from(new Uint32Array(x.buffer), (word) => word >>> 16);
          const combined = combineRows(permuteRows(half, plan, options), plan, {
            ...options,
            weights,
            format: 'bf16',
          });
          same(new Float32Array(Uint32Array.from(combined, (code) => code << 16).buffer));
        },
      ),
      seeded,
    );
  });

  it('put every byte row where its assignment is, zeros in padding', () => {
    fc.assert(
      fc.property(situations, ({ experts, topK, tokens, columns, ids }) => {
        const plan = planPermutation(ids, tokens, { experts, topK });
        const layout = alignPermutation(plan, 8);
        const x = Uint8Array.from({ length: tokens * columns }, (_, i) => 1 + (i % 255));
        const out = new Uint8Array(layout.paddedTotal * columns).fill(77);
        permuteRows(x, plan, { columns, layout, out });
        const weights = permuteValues(
          Float32Array.from(ids, (_, i) => i + 1),
          plan,
          { layout },
        );
        const expected = new Uint8Array(out.length);
        for (let row = 0; row < layout.paddedTotal; row++) {
          const id = layout.sortedIds[row]!;
          const padding = id === layout.padValue;
          expect(weights[row]).toBe(padding ? 0 : id + 1);
          if (padding) continue;
          const token = Math.floor(id / topK);
          expected.set(x.subarray(token * columns, (token + 1) * columns), row * columns);
          expect(layout.blockExpertIds[Math.floor(row / 8)]).toBe(ids[id]);
        }
        expect(Buffer.compare(out, expected)).toBe(0);
      }),
      seeded,
    );
  });

  it('give the same plan in arrays that are used again', () => {
    fc.assert(
      fc.property(fc.array(situations, { minLength: 2, maxLength: 3 }), (all) => {
        const plan = allocatePermutation({ experts: 9, topK: 4, maxTokens: 20 });
        const layout = allocateAlignedLayout(plan, 4);
        for (const { ids } of all) {
          const tokens = Math.floor(ids.length / 4);
          planPermutationInto(ids, tokens, plan);
          alignPermutationInto(plan, layout);
          const fresh = planPermutation(ids, tokens, { experts: 9, topK: 4 });
          const freshLayout = alignPermutation(fresh, 4);
          expect(plan.sortedFlat.slice(0, plan.assignments)).toEqual(
            fresh.sortedFlat.slice(0, fresh.assignments),
          );
          expect(plan.inverse.slice(0, tokens * 4)).toEqual(fresh.inverse);
          expect(layout.sortedIds.slice(0, layout.paddedTotal)).toEqual(freshLayout.sortedIds);
          expect(layout.blockExpertIds.slice(0, layout.paddedTotal / 4)).toEqual(freshLayout.blockExpertIds);
          expect(layout.inverse.slice(0, tokens * 4)).toEqual(freshLayout.inverse);
        }
      }),
      seeded,
    );
  });
});

describe('combineRows', () => {
  it('adds slots in order, rounding to float32 each time, for any number of them', () => {
    for (let topK = 1; topK <= 9; topK++) {
      const ids = Int32Array.from({ length: 6 * topK }, (_, i) => (i % 11 === 3 ? -1 : (i * 7) % 5));
      const plan = planPermutation(ids, 6, { experts: 5, topK });
      const random = createRandom(topK);
      const y = Float32Array.from({ length: plan.assignments * 3 }, () => random() - 0.5);
      const weights = Float32Array.from(ids, random);
      const expected = new Float32Array(18);
      for (let i = 0; i < ids.length; i++) {
        for (let c = 0; c < 3 && ids[i]! >= 0; c++) {
          const at = Math.floor(i / topK) * 3 + c;
          expected[at] = Math.fround(expected[at]! + weights[i]! * y[plan.inverse[i]! * 3 + c]!);
        }
      }
      expect(combineRows(y, plan, { columns: 3, weights })).toEqual(expected);
    }
  });
});

describe('bad operands', () => {
  const plan = planPermutation(Int32Array.of(0, 1), 1, { experts: 2, topK: 2 });
  it.each([
    ['an unknown expert', () => planPermutation(Int32Array.of(2), 1, { experts: 2, topK: 1 })],
    ['an id below -1', () => planPermutation(Int32Array.of(-2), 1, { experts: 2, topK: 1 })],
    ['short indices', () => planPermutation(Int32Array.of(0), 1, { experts: 2, topK: 2 })],
    ['short rows', () => permuteRows(new Float32Array(2), plan, { columns: 3 })],
    [
      'a short output',
      () => permuteRows(new Float32Array(3), plan, { columns: 3, out: new Float32Array(5) }),
    ],
    [
      'short weights',
      () => combineRows(new Float32Array(6), plan, { columns: 3, weights: new Float32Array(1) }),
    ],
    ['16-bit rows without a format', () => combineRows(new Uint16Array(6), plan, { columns: 3 })],
    ['float rows as bf16', () => combineRows(new Float32Array(6), plan, { columns: 3, format: 'bf16' })],
    ['an alignment of 0', () => alignPermutation(plan, 0)],
    ['too many marks', () => indicesFromMask(Uint8Array.of(1, 1), 1, { experts: 2, topK: 1 })],
    [
      'the layout of another batch',
      () =>
        permuteRows(new Float32Array(2), plan, {
          columns: 2,
          layout: alignPermutation(planPermutation(Int32Array.of(0), 1, { experts: 2, topK: 1 }), 4),
        }),
    ],
  ])('are refused: %s', (_, run) => {
    expect(run).toThrow(RoutingError);
  });
});
