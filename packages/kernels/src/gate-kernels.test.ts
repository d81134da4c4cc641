import { generator, normal } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { GateKernels, type GateOutput, type GateShape } from './gate-kernels.js';
import * as reference from './reference/index.js';

const kernels = new GateKernels(Arena.create({ maximumBytes: 1 << 21 }));

function output({ tokens, topK, topKGroups, experts }: GateShape): Required<GateOutput> {
  return {
    indices: new Int32Array(tokens * topK),
    weights: new Float32Array(tokens * topK),
    groups: new Int32Array(tokens * topKGroups),
    counts: new Int32Array(experts).fill(2),
  };
}

function compare(logits: Float32Array, bias: Float32Array | undefined, shape: GateShape): void {
  const expected = output(shape);
  const actual = output(shape);
  reference.gate(logits, bias, shape, expected);
  kernels.gate(logits, bias, shape, actual);
  expect(actual).toEqual(expected);
}

const v3: GateShape = {
  tokens: 40,
  experts: 256,
  groups: 8,
  topKGroups: 4,
  topK: 8,
  scoring: 'sigmoid',
  groupScore: 'top2Sum',
  normalize: true,
  scale: 2.5,
};

describe('exp64', () => {
  it('equals the reference bit for bit', () => {
    const random = generator(2);
    const special = [0, -0, 5e-324, -708, 709, -708.0000001, 709.0000001, 1e300, -1e300, 1, -1];
    for (const spread of [1e-12, 1, 30, 1500]) {
      const x = Float64Array.from({ length: 20_001 }, (_, i) => special[i] ?? (random() - 0.5) * spread);
      const out = new Float64Array(x.length);
      kernels.exp64(x, out);
      expect(new BigUint64Array(out.buffer)).toEqual(
        new BigUint64Array(Float64Array.from(x, reference.exp64).buffer),
      );
    }
    expect(() => kernels.exp64(new Float64Array(2), new Float64Array(1))).toThrow();
  });
});

describe('gate', () => {
  it('equals the reference bit for bit at the sizes of DeepSeek-V3 and V2', () => {
    const random = generator(1);
    compare(normal(40 * 256, random, 3), normal(256, random, 0.1), v3);
    const v2 = { ...v3, experts: 160, topKGroups: 3, topK: 6, scale: 16, normalize: false } as const;
    compare(normal(40 * 160, random, 3), undefined, { ...v2, scoring: 'softmax', groupScore: 'max' });
  });

  it('equals the reference for any shape, with ties, extremes and negative biased scores', () => {
    fc.assert(
      fc.property(
        fc.record({
          groups: fc.integer({ min: 1, max: 5 }),
          quads: fc.integer({ min: 1, max: 4 }),
          tokens: fc.integer({ min: 0, max: 5 }),
          scoring: fc.constantFrom('sigmoid' as const, 'softmax' as const),
          groupScore: fc.constantFrom('max' as const, 'top2Sum' as const),
          normalize: fc.boolean(),
          spread: fc.constantFrom('ties', 'normal', 'extreme'),
          bias: fc.constantFrom(undefined, 0, -3),
          keep: fc.nat(),
          top: fc.nat(),
          seed: fc.integer(),
        }),
        ({ groups, quads, keep, top, seed, spread, bias, ...rest }) => {
          const random = generator(seed);
          const experts = 4 * quads * groups;
          const topKGroups = 1 + (keep % groups);
          const topK = 1 + (top % (4 * quads * topKGroups));
          const shape = { ...rest, experts, groups, topKGroups, topK, scale: 2.5 };
          const logits = normal(rest.tokens * experts, random, spread === 'extreme' ? 400 : 2);
          if (spread === 'ties') logits.set(logits.map(Math.round));
          if (spread === 'extreme') logits.set(logits.map((x, i) => (i % 7 === 0 ? x * 1e30 : x)));
          compare(
            logits,
            bias === undefined ? undefined : normal(experts, random, 0.2).map((b) => b + bias),
            shape,
          );
        },
      ),
      { seed: 20_250_111, numRuns: 400 },
    );
  });

  it('gives the scores of exp64 for every kind of logit', () => {
    const special = [
      0, -0, 1e-45, -1e-45, 708, -708, 708.5, -708.5, 709, -709, 710, -710, 3e38, -3e38, 88, -104, 17.5,
      -17.5,
    ];
    const random = generator(3);
    const logits = Float32Array.from({ length: 4096 }, (_, i) => special[i] ?? (random() - 0.5) * 1500);
    const shape = { ...v3, tokens: 16, groups: 1, topKGroups: 1, topK: 256, normalize: false, scale: 1 };
    compare(logits, undefined, shape);
    compare(logits, undefined, { ...shape, scoring: 'softmax' });
  });

  it('works on arena views and refuses other shapes', () => {
    const random = generator(4);
    const logits = normal(2 * 256, random);
    const expected = output({ ...v3, tokens: 2 });
    reference.gate(logits, undefined, { ...v3, tokens: 2 }, expected);
    kernels.arena.scope(() => {
      const inside = kernels.arena.f32(512);
      inside.set(logits);
      const actual = output({ ...v3, tokens: 2 });
      kernels.gate(inside, undefined, { ...v3, tokens: 2 }, actual);
      expect(actual).toEqual(expected);
    });
    expect(() => compare(logits, undefined, { ...v3, groups: 6 })).toThrow(
      expect.objectContaining({ code: 'kernels/bad-size' }) as Error,
    );
    expect(() => compare(logits, undefined, { ...v3, topK: 129 })).toThrow();
    expect(() => compare(logits, undefined, { ...v3, tokens: 3 })).toThrow();
  });
});
