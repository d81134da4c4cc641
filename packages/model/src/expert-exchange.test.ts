import { Arena, Kernels } from '@moestack/kernels';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LocalExpertExchange } from './expert-exchange.js';

const HIDDEN = 3;

/** For each token the experts it goes to, all different, as a gate gives them. */
const routing = fc.integer({ min: 1, max: 6 }).chain((experts) =>
  fc.integer({ min: 1, max: experts }).chain((topK) =>
    fc.record({
      experts: fc.constant(experts),
      topK: fc.constant(topK),
      choices: fc.array(
        fc.shuffledSubarray(
          Array.from({ length: experts }, (_, i) => i),
          { minLength: topK, maxLength: topK },
        ),
        { maxLength: 8 },
      ),
    }),
  ),
);

describe('LocalExpertExchange', () => {
  it('gives each expert its tokens and each token the weighted sum of its results', () => {
    fc.assert(
      fc.property(routing, ({ experts, topK, choices }) => {
        const tokens = choices.length;
        const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
        const exchange = new LocalExpertExchange(kernels, {
          hidden: HIDDEN,
          topK,
          experts,
          maxTokens: 8,
        });
        const hidden = kernels.arena.f32(8 * HIDDEN).map((_, i) => i + 1);
        const source = kernels.arena.f32(8 * HIDDEN);
        source.set(hidden);
        const expertCounts = new Int32Array(experts);
        for (const choice of choices)
          for (const expert of choice) expertCounts[expert] = expertCounts[expert]! + 1;
        exchange.dispatchSend({
          layer: 0,
          hidden: source,
          tokens,
          expertIds: Int32Array.from(choices.flat()),
          expertWeights: Float32Array.from(choices.flat(), (expert, slot) => expert + slot / 4),
          expertCounts,
        });
        const rows = exchange.dispatchReceive();
        expect(rows.experts).toBe(experts);
        for (let expert = 0; expert < experts; expert++) {
          const first = rows.offsets[expert]!;
          const expected = choices.flatMap((choice, token) => (choice.includes(expert) ? [token] : []));
          expect(rows.offsets[expert + 1]! - first).toBe(expected.length);
          expected.forEach((token, i) => {
            const input = rows.inputs.from(first + i).slice(0, HIDDEN);
            expect([...input]).toEqual([...hidden.slice(token * HIDDEN, (token + 1) * HIDDEN)]);
            // Each expert multiplies by its number plus one.
            rows.outputs.from(first + i).set(input.map((value) => value * (expert + 1)));
          });
        }
        exchange.combineSend();
        const out = kernels.arena.f32(8 * HIDDEN).fill(1);
        exchange.combineReceive(out);
        choices.forEach((choice, token) => {
          const factor = choice.reduce(
            (sum, expert, k) => sum + (expert + (token * topK + k) / 4) * (expert + 1),
            0,
          );
          for (let i = 0; i < HIDDEN; i++) {
            const value = hidden[token * HIDDEN + i]!;
            expect(out[token * HIDDEN + i]).toBeCloseTo(1 + factor * value, 2);
          }
        });
        expect([...out.subarray(tokens * HIDDEN)].every((value) => value === 1)).toBe(true);
      }),
      { numRuns: 100, seed: 17 },
    );
  });
});
