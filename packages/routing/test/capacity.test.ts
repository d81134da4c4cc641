import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyCapacity,
  createRandom,
  createRouter,
  type DropPolicy,
  expertCapacity,
  padToCapacity,
  RoutingError,
} from '../src/index.js';
import { balanceCases, flat, logitsOf } from './balance-cases.js';

describe.each(balanceCases)('capacity of $name', ({ data }) => {
  const { E: experts, K: topK, T: tokens } = data;
  const router = createRouter({ experts, topK, groups: data.G, topKGroups: data.L, scoring: 'sigmoid' });
  const decision = router.route(Float32Array.from(logitsOf(data)), tokens, {
    bias: Float32Array.from(data.bias),
  });

  it.each(Object.entries(data.capacity))('factor %s drops by position and by weight', (factor, expected) => {
    expect(decision.indices).toEqual(flat(data.routed_sigmoid_indices));
    const capacity = expertCapacity({ kind: 'megatron', factor: Number(factor) }, { tokens, experts, topK });
    expect(capacity).toBe(expected.capacity);
    const shape = { experts, topK, capacity };
    const byPosition = applyCapacity(decision, tokens, shape);
    expect(keptTokens(byPosition, shape)).toEqual(expected.position_keep);
    expect(byPosition.dropped).toBe(expected.dropped_assignments);
    expect(byPosition.fullyDroppedTokens).toBe(expected.tokens_fully_dropped_position);
    const byWeight = applyCapacity(decision, tokens, { ...shape, policy: 'probability' });
    expect(keptTokens(byWeight, shape)).toEqual(
      expected.probs_keep.map((list) => [...list].sort((a, b) => a - b)),
    );
    expect(byWeight.dropped).toBe(expected.dropped_assignments);
    expect(byWeight.fullyDroppedTokens).toBe(expected.tokens_fully_dropped_probs);
  });
});

/** Tokens in each expert's buffer, in the order of their places. */
function keptTokens(
  decision: { indices: Int32Array; positions: Int32Array },
  { experts, capacity, topK }: { experts: number; capacity: number; topK: number },
): number[][] {
  const slots = padToCapacity(decision, { experts, capacity });
  return Array.from({ length: experts }, (_, e) =>
    [...slots.subarray(e * capacity, (e + 1) * capacity)]
      .filter((id) => id >= 0)
      .map((id) => Math.floor(id / topK)),
  );
}

describe('expertCapacity', () => {
  const shape = { tokens: 100, experts: 8, topK: 2 };
  it.each([
    [{ kind: 'megatron', factor: 1 }, 25],
    [{ kind: 'megatron', factor: 1.25 }, 32],
    [{ kind: 'megatron', factor: 0, minCapacity: 3 }, 3],
    [{ kind: 'deepspeed', factor: 1 }, 25],
    [{ kind: 'deepspeed', factor: 0.01 }, 4],
    [{ kind: 'deepspeed', factor: 0.01, minCapacity: 1 }, 1],
    [{ kind: 'tutel', factor: 1 }, 26],
    [{ kind: 'tutel', factor: 1.25, alignment: 8 }, 32],
    [{ kind: 'tutel', factor: 0 }, 40],
    [{ kind: 'tutel', factor: -1 }, 26],
    [{ kind: 'tutel', factor: -4 }, 40],
    [{ kind: 'dropless' }, 40],
  ] as const)('%j is %d', (rule, expected) => {
    expect(expertCapacity(rule, { ...shape, counts: [40, 20, 20, 20, 25, 25, 25, 25] })).toBe(expected);
  });

  it('needs the load where it follows it', () => {
    expect(() => expertCapacity({ kind: 'dropless' }, shape)).toThrow(RoutingError);
    expect(() => expertCapacity({ kind: 'tutel', factor: -1 }, shape)).toThrow(RoutingError);
    expect(() => expertCapacity({ kind: 'megatron', factor: -1 }, shape)).toThrow(RoutingError);
    expect(() => expertCapacity({ kind: 'other' as 'dropless' }, shape)).toThrow(RoutingError);
  });
});

const policies: DropPolicy[] = ['probability', 'position', 'choice', 'batchPrioritized', 'random'];

describe('applyCapacity', () => {
  it('never exceeds the capacity, drops only where it must, and says what it dropped', () => {
    fc.assert(
      fc.property(
        fc.record({
          experts: fc.integer({ min: 1, max: 6 }),
          topK: fc.integer({ min: 1, max: 3 }),
          tokens: fc.integer({ min: 0, max: 20 }),
          capacity: fc.integer({ min: 0, max: 8 }),
          policy: fc.constantFrom(...policies),
          seed: fc.integer(),
        }),
        ({ experts, topK, tokens, capacity, policy, seed }) => {
          const random = createRandom(seed);
          const indices = Int32Array.from(
            { length: tokens * topK },
            () => Math.floor(random() * (experts + 1)) - 1,
          );
          const weights = Float32Array.from(indices, () => Math.ceil(random() * 4) / 4);
          const options = { experts, topK, capacity, policy, random };
          const kept = applyCapacity({ indices, weights }, tokens, options);
          for (let e = 0; e < experts; e++) {
            const wanted = indices.filter((id) => id === e).length;
            expect(kept.keptCounts[e]).toBe(Math.min(wanted, capacity));
            expect(kept.droppedCounts[e]).toBe(wanted - kept.keptCounts[e]!);
            const places = [...kept.positions].filter((_, i) => kept.indices[i] === e).sort((a, b) => a - b);
            expect(places).toEqual(places.map((_, place) => place));
          }
          kept.indices.forEach((id, i) => {
            expect(kept.weights[i]).toBe(id < 0 ? 0 : weights[i]);
            if (id >= 0) expect(id).toBe(indices[i]);
            if (id < 0) expect(kept.positions[i]).toBe(-1);
          });
          if (policy === 'probability') {
            kept.indices.forEach((id, i) => {
              if (id >= 0 || indices[i]! < 0) return;
              const others = [...kept.weights].filter((_, j) => kept.indices[j] === indices[i]);
              expect(Math.min(...others, Number.POSITIVE_INFINITY)).toBeGreaterThanOrEqual(weights[i]!);
            });
          }
          const slots = padToCapacity(kept, { experts, capacity });
          expect(slots.filter((id) => id >= 0).length).toBe(
            indices.filter((id) => id >= 0).length - kept.dropped,
          );
        },
      ),
      { seed: 20_250_106, numRuns: 300 },
    );
  });

  it('admits first choices of all tokens before second choices', () => {
    const decision = { indices: Int32Array.of(1, 0, 0, 1), weights: Float32Array.of(0.6, 0.4, 0.9, 0.1) };
    const shape = { experts: 2, topK: 2, capacity: 1 };
    expect([...applyCapacity(decision, 2, { ...shape, policy: 'position' }).indices]).toEqual([1, 0, -1, -1]);
    expect([...applyCapacity(decision, 2, { ...shape, policy: 'choice' }).indices]).toEqual([1, -1, 0, -1]);
  });

  it('admits the surest tokens first when prioritised', () => {
    const decision = { indices: Int32Array.of(0, 0, 0), weights: Float32Array.of(0.2, 0.9, 0.5) };
    const kept = applyCapacity(decision, 3, { experts: 1, topK: 1, capacity: 2, policy: 'batchPrioritized' });
    expect([...kept.indices]).toEqual([-1, 0, 0]);
    expect([...kept.positions]).toEqual([-1, 0, 1]);
  });

  it('draws evenly, and the same for the same seed', () => {
    const decision = { indices: new Int32Array(10), weights: new Float32Array(10).fill(1) };
    const options = { experts: 1, topK: 1, capacity: 3, policy: 'random' as const };
    const kept = new Int32Array(10);
    for (let seed = 0; seed < 2000; seed++) {
      const { indices } = applyCapacity(decision, 10, { ...options, random: createRandom(seed) });
      const again = applyCapacity(decision, 10, { ...options, random: createRandom(seed) });
      expect(again.indices).toEqual(indices);
      indices.forEach((id, token) => {
        if (id >= 0) kept[token]! += 1;
      });
    }
    // 600 expected each; 5 standard deviations are 102.
    for (const count of kept) expect(Math.abs(count - 600)).toBeLessThan(102);
  });

  it('refuses what it cannot do', () => {
    const decision = { indices: Int32Array.of(0), weights: Float32Array.of(1) };
    const shape = { experts: 1, topK: 1, capacity: 1 };
    expect(() => applyCapacity(decision, 1, { ...shape, policy: 'random' })).toThrow(RoutingError);
    expect(() => applyCapacity(decision, 1, { ...shape, policy: 'no' as 'random' })).toThrow(RoutingError);
    expect(() => applyCapacity(decision, 1, { ...shape, capacity: -1 })).toThrow(RoutingError);
    expect(() => applyCapacity(decision, 2, shape)).toThrow(RoutingError);
    expect(() => padToCapacity({ indices: Int32Array.of(0), positions: Int32Array.of(1) }, shape)).toThrow(
      RoutingError,
    );
  });
});
