import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addNoise,
  appendSharedExperts,
  balancedIndices,
  cosineLogits,
  createHashRouter,
  createRandom,
  createRouter,
  loadMetrics,
  nodeGroupScore,
  type RouterConfig,
  type RouterPreset,
  RoutingError,
  routeByExpertChoice,
  routeBySinkhorn,
  routerPreset,
  sinkhorn,
} from '../src/index.js';
import { balanceCases, logitsOf } from './balance-cases.js';

function normalLogits(length: number, seed: number): Float32Array {
  return addNoise(new Float32Array(length), { kind: 'forcedBalance' }, { random: createRandom(seed) });
}

describe.each(balanceCases)('other gates on $name', ({ data }) => {
  const { E: experts, T: tokens } = data;

  it.each(['f64', 'f32'])('lets experts choose tokens (%s)', (precision) => {
    const logits = precision === 'f64' ? logitsOf(data) : Float32Array.from(logitsOf(data));
    const { capacity } = data.expert_choice;
    const choice = routeByExpertChoice(logits, { experts, capacity });
    data.expert_choice.tokens.forEach((expected, e) => {
      const chosen = [...choice.tokens.subarray(e * capacity, (e + 1) * capacity)];
      expect(chosen.sort((a, b) => a - b)).toEqual(expected);
    });
    expect(choice.expertsPerToken.reduce((sum, n) => sum + n, 0)).toBe(experts * capacity);
  });

  it('scales to equal masses', () => {
    const { tol, iterations, row_sums_times_T, top1, counts, counts_softmax } = data.sinkhorn;
    const result = sinkhorn(logitsOf(data), { experts, tolerance: tol });
    expect(result.iterations).toBe(iterations);
    const sums = Array.from({ length: tokens }, (_, t) =>
      result.matrix.subarray(t * experts, (t + 1) * experts).reduce((sum, value) => sum + value, 0),
    );
    expect(Math.min(...sums) * tokens).toBeCloseTo(row_sums_times_T[0], 12);
    expect(Math.max(...sums) * tokens).toBeCloseTo(row_sums_times_T[1], 12);
    const decision = routeBySinkhorn(Float32Array.from(logitsOf(data)), { experts, topK: 1, tolerance: tol });
    expect([...decision.indices]).toEqual(top1);
    expect([...decision.counts]).toEqual(counts);
    const plain = createRouter({ experts, topK: 1, scoring: 'softmax' }).route(
      Float32Array.from(logitsOf(data)),
      tokens,
    );
    expect([...plain.counts]).toEqual(counts_softmax);
  });
});

describe('sinkhorn', () => {
  it('makes rows sum to 1/T and columns to 1/E', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(),
        (tokens, experts, seed) => {
          const logits = Float64Array.from(normalLogits(tokens * experts, seed));
          const { matrix } = sinkhorn(logits, { experts, tolerance: 1e-5 });
          for (let t = 0; t < tokens; t++) {
            const row = matrix
              .subarray(t * experts, (t + 1) * experts)
              .reduce((sum, value) => sum + value, 0);
            // Rows are off by the last relative move of the factors, which may be small numbers.
            expect(Math.abs(row * tokens - 1)).toBeLessThan(1e-3);
          }
          for (let e = 0; e < experts; e++) {
            let column = 0;
            for (let t = 0; t < tokens; t++) column += matrix[t * experts + e]!;
            // Columns are exact but for the floor of 1e-8 against sums of about 1/E over the expert's factor.
            expect(Math.abs(column * experts - 1)).toBeLessThan(1e-5);
          }
        },
      ),
      { seed: 20_250_107, numRuns: 60 },
    );
  });

  it('copes with large logits and gives up with an error', () => {
    const large = Float64Array.of(900, 899, 898, 900);
    expect(sinkhorn(large, { experts: 2 }).matrix.every(Number.isFinite)).toBe(true);
    expect(() => sinkhorn(large, { experts: 2, tolerance: 0, maxIterations: 2 })).toThrow(
      expect.objectContaining({ code: 'routing/no-convergence' }) as RoutingError,
    );
  });

  it('weighs two experts by softmax', () => {
    const logits = normalLogits(24, 3);
    const decision = routeBySinkhorn(logits, { experts: 6, topK: 2 });
    const softmax = createRouter({ experts: 6, topK: 2, scoring: 'softmax' });
    expect(decision.weights).toEqual(softmax.weigh(logits, decision.indices));
    expect(decision.counts.reduce((sum, count) => sum + count, 0)).toBe(8);
  });
});

describe('routeByExpertChoice', () => {
  it('leaves masked tokens alone and fills with -1', () => {
    const choice = routeByExpertChoice(normalLogits(12, 1), {
      experts: 4,
      capacity: 3,
      mask: Uint8Array.of(1, 0, 1),
    });
    for (let e = 0; e < 4; e++) {
      expect([...choice.tokens.subarray(e * 3, e * 3 + 2)].sort()).toEqual([0, 2]);
      expect(choice.tokens[e * 3 + 2]).toBe(-1);
      expect(choice.weights[e * 3 + 2]).toBe(0);
    }
    expect([...choice.expertsPerToken]).toEqual([4, 0, 4]);
  });
});

describe('createHashRouter', () => {
  it('gives every id the same distinct experts, spread evenly over a vocabulary', () => {
    const router = createHashRouter({ experts: 16, topK: 4, seed: 5 });
    const ids = Int32Array.from({ length: 8000 }, (_, i) => i);
    const { indices, weights, counts } = router.route(ids);
    for (let t = 0; t < 8000; t++) expect(new Set(indices.subarray(t * 4, t * 4 + 4)).size).toBe(4);
    expect(weights.every((weight) => weight === 0.25)).toBe(true);
    expect(loadMetrics(counts).maxVio).toBeLessThan(0.1);
    const again = router.route(Int32Array.of(77, -1, 3));
    expect([...again.indices]).toEqual([
      ...indices.subarray(308, 312),
      -1,
      -1,
      -1,
      -1,
      ...indices.subarray(12, 16),
    ]);
    expect([...again.weights.subarray(4, 8)]).toEqual([0, 0, 0, 0]);
    const other = createHashRouter({ experts: 16, topK: 4, seed: 6 }).route(ids);
    expect(other.indices).not.toEqual(indices);
  });

  it('follows a table', () => {
    const router = createHashRouter({ experts: 4, topK: 2, table: Int32Array.of(0, 1, 2, 3, 3, 0) });
    expect([...router.route(Int32Array.of(2, 0)).indices]).toEqual([3, 0, 0, 1]);
    expect(() => router.route(Int32Array.of(3))).toThrow(RoutingError);
    expect(() => createHashRouter({ experts: 4, topK: 2, table: Int32Array.of(0, 4) })).toThrow(RoutingError);
    expect(() => createHashRouter({ experts: 4, topK: 2, table: Int32Array.of(0, 1, 2) })).toThrow(
      RoutingError,
    );
  });
});

describe('addNoise', () => {
  const zeros = new Float32Array(20_000);
  const random = () => createRandom(11);

  it('jitters within its bounds', () => {
    const out = addNoise(
      zeros.map(() => 2),
      { kind: 'jitter', epsilon: 0.1 },
      { random: random() },
    );
    expect(Math.min(...out)).toBeGreaterThanOrEqual(1.8 - 1e-6);
    expect(Math.max(...out)).toBeLessThanOrEqual(2.2 + 1e-6);
    expect(mean(out)).toBeCloseTo(2, 2);
  });

  it('has the mean and variance of its distribution', () => {
    const gumbel = addNoise(zeros, { kind: 'gumbel' }, { random: random() });
    expect(Math.abs(mean(gumbel) - 0.5772)).toBeLessThan(0.04);
    expect(Math.abs(variance(gumbel) - Math.PI ** 2 / 6)).toBeLessThan(0.1);
    const gaussian = addNoise(zeros, { kind: 'gaussian', deviation: 3 }, { random: random() });
    expect(Math.abs(mean(gaussian))).toBeLessThan(0.1);
    expect(Math.abs(variance(gaussian) - 9)).toBeLessThan(0.4);
  });

  it('forces balance whatever the logits are', () => {
    const skewed = Float32Array.from({ length: 8 * 4096 }, (_, i) => (i % 8 === 0 ? 50 : 0));
    const router = createRouter({ experts: 8, topK: 2, scoring: 'softmax' });
    expect(loadMetrics(router.route(skewed, 4096).counts).maxVio).toBe(3);
    const forced = addNoise(skewed, { kind: 'forcedBalance' }, { random: random() });
    expect(loadMetrics(router.route(forced, 4096).counts).maxVio).toBeLessThan(0.1);
    const exact = balancedIndices(10, { experts: 8, topK: 4 });
    expect(exact).toHaveLength(40);
    expect(new Set(exact.subarray(4, 8)).size).toBe(4);
  });

  it('samples by Gumbel top-1 with the softmax as probabilities', () => {
    const router = createRouter({ experts: 3, topK: 1, scoring: 'softmax' });
    const logits = Float32Array.from({ length: 3 * 20_000 }, (_, i) => Math.log([0.5, 0.3, 0.2][i % 3]!));
    const { counts } = router.route(addNoise(logits, { kind: 'gumbel' }, { random: random() }), 20_000);
    [0.5, 0.3, 0.2].forEach((probability, e) => {
      expect(Math.abs(counts[e]! / 20_000 - probability)).toBeLessThan(0.015);
    });
  });

  it('is the same for the same seed and may work in place', () => {
    const logits = normalLogits(100, 2);
    const first = addNoise(logits, { kind: 'gumbel', scale: 0.5 }, { random: random() });
    addNoise(logits, { kind: 'gumbel', scale: 0.5 }, { random: random(), out: logits });
    expect(logits).toEqual(first);
    expect(() => addNoise(logits, { kind: 'jitter', epsilon: -1 }, { random: random() })).toThrow(
      RoutingError,
    );
    expect(() => addNoise(logits, { kind: 'no' as 'jitter', epsilon: 1 }, { random: random() })).toThrow(
      RoutingError,
    );
  });
});

function mean(values: Float32Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function variance(values: Float32Array): number {
  const center = mean(values);
  return values.reduce((sum, value) => sum + (value - center) ** 2, 0) / values.length;
}

describe('routerPreset', () => {
  const names: RouterPreset[] = [
    'deepseek-v2',
    'deepseek-v2-lite',
    'deepseek-v3',
    'kimi-k2',
    'mixtral',
    'qwen3-moe',
    'switch',
  ];
  it.each(names)('%s routes', (name) => {
    const config = routerPreset(name);
    const { indices, weights } = createRouter(config).route(normalLogits(5 * config.experts, 1), 5);
    expect(indices).toHaveLength(5 * config.topK);
    const sum = weights.subarray(0, config.topK).reduce((total, weight) => total + weight, 0);
    const normalized = (config.normalize ?? false) || config.softmaxOrder === 'after';
    if (normalized) expect(sum).toBeCloseTo(config.routedScalingFactor ?? 1, 5);
    else expect(sum).toBeLessThan(config.routedScalingFactor ?? 1);
  });

  it('takes changes, and refuses what does not fit', () => {
    expect(routerPreset('kimi-k2', { topK: 4 })).toMatchObject({ experts: 384, topK: 4, scoring: 'sigmoid' });
    expect(() => routerPreset('deepseek-v3', { experts: 100 })).toThrow(RoutingError);
    expect(() => routerPreset('gpt' as 'switch')).toThrow(RoutingError);
    const onNodes = routerPreset('deepseek-v3', { topology: { nodes: 8, maxNodesPerToken: 4 } });
    expect(createRouter(onNodes).config).toMatchObject({ groups: 8, topKGroups: 4, groupScore: 'top2Sum' });
  });

  it('mixtral equals a renormalised softmax', () => {
    const logits = normalLogits(8 * 50, 9);
    const late = createRouter(routerPreset('mixtral')).route(logits, 50);
    const early = createRouter({ experts: 8, topK: 2, scoring: 'softmax', normalize: true }).route(
      logits,
      50,
    );
    expect(late.indices).toEqual(early.indices);
    late.weights.forEach((weight, i) => {
      expect(Math.abs(weight - early.weights[i]!)).toBeLessThan(2e-7);
    });
  });
});

describe('node-limited routing', () => {
  it('takes the sum of the top K/M of each node', () => {
    expect(nodeGroupScore(8, 4)).toBe('top2Sum');
    expect(nodeGroupScore(6, 2)).toBe('top3Sum');
    expect(nodeGroupScore(5, 4)).toBe('max');
    expect(() => nodeGroupScore(3, 4)).toThrow(RoutingError);
  });

  it('equals groups when nodes hold consecutive experts, and sums computed from sorted scores', () => {
    const logits = normalLogits(64 * 24, 4);
    for (const [topK, maxNodesPerToken] of [
      [6, 2],
      [6, 3],
      [8, 2],
      [3, 3],
    ] as const) {
      const base = { experts: 24, topK, scoring: 'sigmoid' as const };
      const byNode = createRouter({ ...base, topology: { nodes: 4, maxNodesPerToken } });
      const byGroup = createRouter({
        ...base,
        groups: 4,
        topKGroups: maxNodesPerToken,
        groupScore: nodeGroupScore(topK, maxNodesPerToken),
      });
      const nodeOfExpert = Int32Array.from({ length: 24 }, (_, e) => Math.floor(e / 6));
      const mapped = createRouter({ ...base, topology: { nodes: 4, maxNodesPerToken, nodeOfExpert } });
      expect(byNode.route(logits, 64)).toEqual(byGroup.route(logits, 64));
      expect(mapped.route(logits, 64)).toEqual(byGroup.route(logits, 64));
      const { groups } = byNode.route(logits, 64);
      for (let t = 0; t < 64; t++) {
        const sums = [0, 1, 2, 3].map((g) =>
          [...logits.subarray(t * 24 + g * 6, t * 24 + g * 6 + 6)]
            .map((x) => Math.fround(1 / (1 + Math.exp(-x))))
            .sort((a, b) => b - a)
            .slice(0, Math.floor(topK / maxNodesPerToken))
            .reduce((sum, value) => Math.fround(sum + value), 0),
        );
        const order = [0, 1, 2, 3].sort((a, b) => sums[b]! - sums[a]! || a - b).slice(0, maxNodesPerToken);
        expect([...groups!.subarray(t * maxNodesPerToken, (t + 1) * maxNodesPerToken)]).toEqual(order);
      }
    }
  });

  it('keeps tokens on M nodes when experts are scattered unevenly', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 3 }), (seed, maxNodesPerToken) => {
        const random = createRandom(seed);
        const nodeOfExpert = [
          0,
          0,
          1,
          1,
          2,
          2,
          ...Array.from({ length: 10 }, () => Math.floor(random() * 3)),
        ];
        for (let i = nodeOfExpert.length - 1; i > 0; i--) {
          const j = Math.floor(random() * (i + 1));
          [nodeOfExpert[i], nodeOfExpert[j]] = [nodeOfExpert[j]!, nodeOfExpert[i]!];
        }
        const topology = { nodes: 3, maxNodesPerToken, nodeOfExpert };
        const topK = 2 * maxNodesPerToken;
        const router = createRouter({ experts: 16, topK, scoring: 'sigmoid', topology });
        const { indices } = router.route(normalLogits(16 * 16, seed), 16);
        for (let t = 0; t < 16; t++) {
          const row = [...indices.subarray(t * topK, (t + 1) * topK)];
          expect(new Set(row).size).toBe(topK);
          expect(new Set(row.map((e) => nodeOfExpert[e])).size).toBeLessThanOrEqual(maxNodesPerToken);
        }
      }),
      { seed: 20_250_108, numRuns: 100 },
    );
  });

  it.each<[string, Partial<RouterConfig>]>([
    ['groups beside it', { groups: 2, topology: { nodes: 2, maxNodesPerToken: 1 } }],
    ['a node without experts', { topology: { nodes: 2, maxNodesPerToken: 1, nodeOfExpert: [0, 0, 0, 0] } }],
    ['an unknown node', { topology: { nodes: 2, maxNodesPerToken: 1, nodeOfExpert: [0, 0, 1, 2] } }],
    ['a short map', { topology: { nodes: 2, maxNodesPerToken: 1, nodeOfExpert: [0, 1] } }],
    ['a node too small for K', { topology: { nodes: 2, maxNodesPerToken: 1, nodeOfExpert: [0, 1, 1, 1] } }],
    ['more nodes than there are', { topology: { nodes: 2, maxNodesPerToken: 3 } }],
    ['a late softmax of sigmoids', { softmaxOrder: 'after' }],
    ['an unknown compat', { compat: 'torch' as 'canonical' }],
    ['an unknown option', { expert: 5 } as Partial<RouterConfig>],
    ['a normalize that is no boolean', { normalize: 1 as unknown as boolean }],
    ['sums of none', { groupScore: 'top0Sum' }],
  ])('refuses %s', (_, change) => {
    expect(() => createRouter({ experts: 4, topK: 2, scoring: 'sigmoid', ...change })).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^routing\/bad-(config|shape)$/),
      }) as RoutingError,
    );
  });
});

describe('compat hf-zero-mask', () => {
  it('lets masked experts win over negative biased scores, lowest index first', () => {
    const config: RouterConfig = {
      experts: 8,
      topK: 3,
      groups: 4,
      topKGroups: 2,
      scoring: 'sigmoid',
      compat: 'hf-zero-mask',
    };
    const logits = normalLogits(8, 5);
    const bias = new Float32Array(8).fill(-3);
    const { indices, groups } = createRouter(config).route(logits, 1, { bias });
    const outside = [0, 1, 2, 3, 4, 5, 6, 7].filter((e) => ![...groups!].includes(e >> 1));
    expect([...indices]).toEqual(outside.slice(0, 3));
    const canonical = createRouter({ ...config, compat: 'canonical' });
    expect(canonical.route(logits, 1, { bias }).indices.every((e) => groups!.includes(e >> 1))).toBe(true);
    const many = normalLogits(8 * 40, 6);
    expect(createRouter(config).route(many, 40)).toEqual(canonical.route(many, 40));
  });
});

describe('masked tokens', () => {
  const config: RouterConfig = { experts: 8, topK: 2, groups: 4, topKGroups: 2, scoring: 'sigmoid' };
  it('get -1 and 0, are not counted, and may hold anything', () => {
    const router = createRouter(config);
    const logits = normalLogits(24, 7);
    logits.fill(Number.NaN, 8, 16);
    const masked = router.route(logits, 3, { mask: Uint8Array.of(1, 0, 1) });
    const first = router.route(logits.slice(0, 8), 1);
    const last = router.route(logits.slice(16), 1);
    expect([...masked.indices]).toEqual([...first.indices, -1, -1, ...last.indices]);
    expect([...masked.weights]).toEqual([...first.weights, 0, 0, ...last.weights]);
    expect([...masked.groups!]).toEqual([...first.groups!, -1, -1, ...last.groups!]);
    expect(masked.counts.reduce((sum, count) => sum + count, 0)).toBe(4);
    expect(router.weigh(logits, masked.indices)).toEqual(masked.weights);
    expect(() => router.route(logits, 3)).toThrow(RoutingError);
    expect(() => router.route(logits, 3, { mask: Uint8Array.of(1) })).toThrow(RoutingError);
  });
});

describe('weigh', () => {
  it.each<Partial<RouterConfig>>([
    {},
    { precision: 'bf16' },
    { scoring: 'softmax', softmaxOrder: 'after' },
    { scoring: 'softmax', softmaxOrder: 'after', precision: 'bf16' },
    { scoring: 'sqrtSoftplus', routedScalingFactor: 2.5 },
  ])('gives the weights of route for %j', (change) => {
    const router = createRouter({ experts: 16, topK: 3, scoring: 'sigmoid', ...change });
    const logits = normalLogits(16 * 20, 8);
    const { indices, weights } = router.route(logits, 20);
    expect(router.weigh(logits, indices)).toEqual(weights);
    expect(() => router.weigh(logits, Int32Array.of(0, 1, 16))).toThrow(RoutingError);
    expect(() => router.weigh(logits, Int32Array.of(0, 1))).toThrow(RoutingError);
  });
});

describe('appendSharedExperts', () => {
  it('adds ids past the routed ones to every token that is not masked', () => {
    const decision = createRouter({ experts: 4, topK: 2, scoring: 'sigmoid' }).route(normalLogits(12, 3), 3, {
      mask: Uint8Array.of(1, 0, 1),
    });
    const fused = appendSharedExperts(decision, 3, { experts: 4, topK: 2, shared: 2, weight: 0.5 });
    expect([...fused.indices.subarray(0, 4)]).toEqual([...decision.indices.subarray(0, 2), 4, 5]);
    expect([...fused.indices.subarray(4, 8)]).toEqual([-1, -1, -1, -1]);
    expect([...fused.weights.subarray(2, 8)]).toEqual([0.5, 0.5, 0, 0, 0, 0]);
    expect([...fused.counts]).toEqual([...decision.counts, 2, 2]);
    expect(() => appendSharedExperts(decision, 3, { experts: 4, topK: 2, shared: 0 })).toThrow(RoutingError);
  });
});

describe('cosineLogits', () => {
  it('is the scaled cosine, also of a zero vector', () => {
    const logits = cosineLogits(Float32Array.of(3, 4, 0, 0), Float32Array.of(1, 0, 0, 2, -3, -4), {
      experts: 3,
      columns: 2,
      scale: 10,
    });
    [6, 8, -10, 0, 0, 0].forEach((value, i) => {
      expect(logits[i]).toBeCloseTo(value, 5);
    });
    expect(() => cosineLogits(new Float32Array(3), new Float32Array(2), { experts: 1, columns: 2 })).toThrow(
      RoutingError,
    );
  });
});
