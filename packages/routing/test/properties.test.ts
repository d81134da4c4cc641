import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom, createRouter, createScalarRouter, type RouterConfig } from '../src/index.js';

interface Situation {
  config: RouterConfig;
  tokens: number;
  logits: Float32Array;
  bias: Float32Array | undefined;
}

/** Valid configurations with logits; `coarse` draws them from few values, so that ties are common. */
function situations(coarse: boolean): fc.Arbitrary<Situation> {
  const value = coarse ? fc.integer({ min: -2, max: 2 }) : fc.float({ min: -8, max: 8, noNaN: true });
  return fc
    .record({
      groups: fc.integer({ min: 1, max: 6 }),
      size: fc.integer({ min: 2, max: 7 }),
      tokens: fc.integer({ min: 0, max: 6 }),
      scoring: fc.constantFrom('sigmoid' as const, 'softmax' as const, 'sqrtSoftplus' as const),
      groupScore: fc.constantFrom('max' as const, 'top2Sum' as const),
      precision: fc.constantFrom('f32' as const, 'bf16' as const),
      biased: fc.boolean(),
    })
    .chain((shape) => {
      const experts = shape.groups * shape.size;
      return fc.integer({ min: 1, max: shape.groups }).chain((topKGroups) =>
        fc.record({
          config: fc.record({
            experts: fc.constant(experts),
            topK: fc.integer({ min: 1, max: topKGroups * shape.size }),
            groups: fc.constant(shape.groups),
            topKGroups: fc.constant(topKGroups),
            scoring: fc.constant(shape.scoring),
            groupScore: fc.constant(shape.groupScore),
            precision: fc.constant(shape.precision),
          }),
          tokens: fc.constant(shape.tokens),
          logits: fc
            .array(value, { minLength: shape.tokens * experts, maxLength: shape.tokens * experts })
            .map((values) => Float32Array.from(values)),
          bias: shape.biased
            ? fc.array(value, { minLength: experts, maxLength: experts }).map((v) => Float32Array.from(v))
            : fc.constant(undefined),
        }),
      );
    });
}

function route({ config, tokens, logits, bias }: Situation) {
  return createRouter(config).route(logits, tokens, bias === undefined ? {} : { bias });
}

/** The gate by full sorts, straight from its definition, in float32. */
function routeBySorting({ config, tokens, logits, bias }: Situation): number[][] {
  const { experts, topK, groups = 1, topKGroups = groups } = config;
  const scorer = createRouter({ ...config, topK: 1, topKGroups: groups, normalize: false });
  const result: number[][] = [];
  for (let token = 0; token < tokens; token++) {
    const row = logits.subarray(token * experts, (token + 1) * experts);
    const single = createRouter({ ...config, topK: experts, topKGroups: groups, normalize: false }).route(
      row,
      1,
    );
    const scores = new Float32Array(experts);
    single.indices.forEach((expert, k) => {
      scores[expert] = single.weights[k]!;
    });
    const biased = scores.map((score, e) => score + (bias?.[e] ?? 0));
    const byValue = (values: Float32Array) => (a: number, b: number) => values[b]! - values[a]! || a - b;
    const size = experts / groups;
    const groupScores = new Float32Array(groups).map((_, g) => {
      const sorted = [...biased.subarray(g * size, (g + 1) * size)].sort((a, b) => b - a);
      return scorer.config.groupScore === 'max' ? sorted[0]! : sorted[0]! + sorted[1]!;
    });
    const kept = new Set(
      [...groupScores.keys()].sort(byValue(groupScores)).slice(0, groups > 1 ? topKGroups : 1),
    );
    result.push(
      [...biased.keys()]
        .filter((e) => kept.has(Math.floor(e / size)))
        .sort(byValue(biased))
        .slice(0, topK),
    );
  }
  return result;
}

const seeded = { seed: 20_250_101, numRuns: 300 };

describe('properties of every decision', () => {
  it('are those of the scalar gate, bit for bit', () => {
    const sizes = fc.record({
      groups: fc.integer({ min: 1, max: 4 }),
      size: fc.constantFrom(4, 8, 12),
      tokens: fc.integer({ min: 0, max: 60 }),
      keep: fc.nat(),
      top: fc.nat(),
      scoring: fc.constantFrom('sigmoid' as const, 'softmax' as const),
      normalize: fc.boolean(),
      biased: fc.boolean(),
      coarse: fc.boolean(),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(sizes, ({ groups, size, tokens, keep, top, biased, coarse, seed, ...rest }) => {
        const topKGroups = 1 + (keep % groups);
        const topK = 1 + (top % (size * topKGroups));
        const experts = groups * size;
        const config = { ...rest, experts, groups, topKGroups, topK, routedScalingFactor: 2.5 };
        const random = createRandom(seed);
        const value = () => (coarse ? Math.floor(random() * 4) - 2 : (random() - 0.5) * 20);
        const logits = Float32Array.from({ length: tokens * experts }, value);
        const bias = Float32Array.from({ length: experts }, () => (coarse ? -1 : random() - 0.5));
        const options = biased ? { bias } : {};
        const fast = createRouter(config).route(logits, tokens, options);
        expect(fast).toEqual(createScalarRouter(config).route(logits, tokens, options));
      }),
      { ...seeded, numRuns: 150 },
    );
  });

  it('are those of the scalar gate over several chunks', () => {
    const config = { experts: 256, topK: 8, groups: 8, topKGroups: 4, scoring: 'sigmoid' as const };
    const random = createRandom(1);
    const logits = Float32Array.from({ length: 300 * 256 }, () => (random() - 0.5) * 20);
    const bias = Float32Array.from({ length: 256 }, () => random() * 0.1);
    expect(createRouter(config).route(logits, 300, { bias })).toEqual(
      createScalarRouter(config).route(logits, 300, { bias }),
    );
  });

  it('counts every assignment once, and chooses distinct experts in at most topKGroups groups', () => {
    fc.assert(
      fc.property(fc.boolean().chain(situations), (situation) => {
        const { config, tokens } = situation;
        const decision = route(situation);
        const size = config.experts / (config.groups ?? 1);
        expect(decision.counts.reduce((sum, count) => sum + count, 0)).toBe(tokens * config.topK);
        for (let token = 0; token < tokens; token++) {
          const row = [...decision.indices.subarray(token * config.topK, (token + 1) * config.topK)];
          expect(new Set(row).size).toBe(config.topK);
          expect(Math.min(...row)).toBeGreaterThanOrEqual(0);
          expect(Math.max(...row)).toBeLessThan(config.experts);
          expect(new Set(row.map((e) => Math.floor(e / size))).size).toBeLessThanOrEqual(
            config.topKGroups ?? 1,
          );
        }
      }),
      seeded,
    );
  });

  it('agrees with full sorts, ties going to the lowest index', () => {
    fc.assert(
      fc.property(situations(true), (situation) => {
        expect([...route(situation).indices]).toEqual(routeBySorting(situation).flat());
      }),
      seeded,
    );
  });

  it('permutes with the experts when no two scores tie', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: -400, max: 400 }), { minLength: 6, maxLength: 24 }),
        fc.integer({ min: 1, max: 6 }),
        fc.infiniteStream(fc.nat()),
        (values, topK, random) => {
          const experts = values.length;
          const logits = Float32Array.from(values, (value) => value / 64);
          const order = [...logits.keys()];
          for (let i = experts - 1; i > 0; i--) {
            const j = random.next().value! % (i + 1);
            [order[i], order[j]] = [order[j]!, order[i]!];
          }
          const router = createRouter({ experts, topK, scoring: 'sigmoid' });
          const plain = router.route(logits, 1);
          const permuted = router.route(
            Float32Array.from(order, (e) => logits[e]!),
            1,
          );
          expect([...permuted.indices].map((e) => order[e])).toEqual([...plain.indices]);
          expect(permuted.weights).toEqual(plain.weights);
        },
      ),
      seeded,
    );
  });

  it('makes normalised weights sum to the scaling factor', () => {
    fc.assert(
      fc.property(situations(false), ({ config, tokens, logits, bias }) => {
        const situation = {
          config: {
            ...config,
            normalize: true,
            routedScalingFactor: 2.5,
            precision: 'f32' as const,
            scoring: 'sigmoid' as const,
          },
          tokens,
          logits,
          bias,
        };
        const { weights } = route(situation);
        for (let token = 0; token < tokens; token++) {
          const row = weights.subarray(token * config.topK, (token + 1) * config.topK);
          expect(row.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(2.5, 5);
        }
      }),
      seeded,
    );
  });
});

describe('routeInto', () => {
  it.each([
    ['SIMD', createRouter],
    ['scalar', createScalarRouter],
  ])('allocates no arrays (%s)', (_, create) => {
    const router = create({ experts: 64, topK: 6, groups: 8, topKGroups: 4, scoring: 'sigmoid' });
    const logits = new Float32Array(40 * 64).fill(0.5);
    const out = {
      bias: new Float32Array(64),
      indices: new Int32Array(40 * 6),
      weights: new Float32Array(40 * 6),
      groups: new Int32Array(40 * 4),
      counts: new Int32Array(64),
    };
    for (let i = 0; i < 300; i++) router.routeInto(logits, 40, out);
    const before = process.memoryUsage();
    const calls = 2000;
    for (let i = 0; i < calls; i++) router.routeInto(logits, 40, out);
    const after = process.memoryUsage();
    // A view for each token would be 4 kB; boxed numbers of unoptimised code stay below this.
    expect((after.heapUsed - before.heapUsed) / calls).toBeLessThan(1024);
    expect((after.arrayBuffers - before.arrayBuffers) / calls).toBeLessThan(16);
  });
});
