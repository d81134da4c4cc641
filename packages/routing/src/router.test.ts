import { describe, expect, it } from 'vitest';
import { createRouter, type RouterConfig, RoutingError } from './index.js';

const v3: RouterConfig = { experts: 16, topK: 4, groups: 4, topKGroups: 2, scoring: 'sigmoid' };

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (RoutingError.isInstance(error)) return error.code;
    throw error;
  }
  throw new Error('expected a RoutingError');
}

describe('createRouter', () => {
  it.each<[string, Partial<RouterConfig>]>([
    ['groups that do not divide the experts', { groups: 3 }],
    ['more experts per token than kept groups hold', { topK: 9 }],
    ['more kept groups than groups', { topKGroups: 5 }],
    ['top2Sum with one expert per group', { groups: 16, topKGroups: 8, groupScore: 'top2Sum' }],
    ['zero experts', { experts: 0 }],
    ['a fractional topK', { topK: 1.5 }],
    ['a scaling factor of zero', { routedScalingFactor: 0 }],
    ['a scaling factor that is no number', { routedScalingFactor: Number.NaN }],
    ['an unknown scorer', { scoring: 'relu' as 'sigmoid' }],
    ['an unknown precision', { precision: 'f16' as 'f32' }],
    ['an unknown group score', { groupScore: 'mean' as 'max' }],
  ])('refuses %s', (_name, change) => {
    expect(codeOf(() => createRouter({ ...v3, ...change }))).toBe('routing/bad-config');
  });

  it('names the value and the remedy', () => {
    expect(() => createRouter({ ...v3, topK: 9 })).toThrow(
      expect.objectContaining({
        value: 9,
        message: 'expected topK <= topKGroups * experts / groups = 8, got 9',
        remedy: expect.stringContaining('keep more groups'),
      }),
    );
  });

  it('fills in defaults', () => {
    expect(createRouter({ experts: 8, topK: 2, scoring: 'softmax' }).config).toEqual({
      experts: 8,
      topK: 2,
      groups: 1,
      topKGroups: 1,
      scoring: 'softmax',
      normalize: false,
      routedScalingFactor: 1,
      precision: 'f32',
      softmaxOrder: 'before',
      compat: 'canonical',
    });
    expect(createRouter(v3).config.normalize).toBe(true);
    expect(createRouter({ ...v3, scoring: 'sqrtSoftplus' }).config.normalize).toBe(true);
  });
});

describe('route', () => {
  const logits = Float32Array.from({ length: 32 }, (_, i) => Math.sin(i * 7));

  it('refuses arrays that do not fit', () => {
    const router = createRouter(v3);
    const out = {
      indices: new Int32Array(8),
      weights: new Float32Array(8),
      groups: new Int32Array(4),
      counts: new Int32Array(16),
    };
    expect(codeOf(() => router.route(logits, 3))).toBe('routing/bad-shape');
    expect(codeOf(() => router.route(logits, 1e12))).toBe('routing/bad-shape');
    expect(codeOf(() => router.route(logits, -1))).toBe('routing/bad-shape');
    expect(codeOf(() => router.route(logits, 2, { bias: new Float32Array(15) }))).toBe('routing/bad-shape');
    for (const name of ['indices', 'weights', 'groups', 'counts'] as const) {
      const short = { ...out, [name]: out[name].subarray(1) };
      expect(codeOf(() => router.routeInto(logits, 2, short))).toBe('routing/bad-shape');
    }
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'refuses %s among logits or bias and writes nothing',
    (bad) => {
      const router = createRouter(v3);
      const out = {
        indices: new Int32Array(8).fill(-7),
        weights: new Float32Array(8).fill(-7),
        counts: new Int32Array(16).fill(-7),
      };
      const poisoned = logits.slice();
      poisoned[29] = bad;
      expect(codeOf(() => router.routeInto(poisoned, 2, out))).toBe('routing/not-finite');
      const bias = new Float32Array(16);
      bias[3] = bad;
      expect(codeOf(() => router.routeInto(logits, 2, { ...out, bias }))).toBe('routing/not-finite');
      expect(new Set([...out.indices, ...out.weights, ...out.counts])).toEqual(new Set([-7]));
    },
  );

  it('asks for two experts per group when a bias makes top2Sum the default', () => {
    const router = createRouter({ ...v3, groups: 16, topKGroups: 8 });
    expect(router.route(logits, 2).indices).toHaveLength(8);
    expect(codeOf(() => router.route(logits, 2, { bias: new Float32Array(16) }))).toBe('routing/bad-config');
  });

  it('returns empty arrays for no tokens', () => {
    const decision = createRouter(v3).route(new Float32Array(0), 0);
    expect(decision.indices).toHaveLength(0);
    expect(decision.groups).toHaveLength(0);
    expect(decision.counts).toEqual(new Int32Array(16));
  });

  it('gives fresh arrays on every call', () => {
    const router = createRouter(v3);
    const first = router.route(logits, 2);
    const kept = first.indices.slice();
    router.route(
      logits.map((x) => -x),
      2,
    );
    expect(first.indices).toEqual(kept);
  });

  it('breaks ties by the lowest group and the lowest expert', () => {
    const decision = createRouter(v3).route(new Float32Array(16), 1);
    expect([...decision.indices]).toEqual([0, 1, 2, 3]);
    expect([...decision.groups!]).toEqual([0, 1]);
  });

  it('treats negative zero as zero', () => {
    const router = createRouter({ experts: 4, topK: 2, scoring: 'sigmoid' });
    expect([...router.route(Float32Array.of(0, -0, 0, -0), 1).indices]).toEqual([0, 1]);
  });

  it('ranks groups by the rule asked for', () => {
    const scores = Float32Array.of(3, -9, 2, 2);
    const max = createRouter({ experts: 4, topK: 1, groups: 2, topKGroups: 1, scoring: 'sigmoid' });
    const sum = createRouter({ ...max.config, groupScore: 'top2Sum' });
    expect([...max.route(scores, 1).indices]).toEqual([0]);
    expect([...sum.route(scores, 1).indices]).toEqual([2]);
    expect([...max.route(scores, 1, { bias: new Float32Array(4) }).indices]).toEqual([2]);
  });

  it('chooses by biased scores and weighs by unbiased ones', () => {
    const router = createRouter({ experts: 4, topK: 2, scoring: 'sigmoid' });
    const { indices, weights } = router.route(Float32Array.of(2, 1, 0, -1), 1, {
      bias: Float32Array.of(-5, 0, 0, 5),
    });
    expect([...indices]).toEqual([3, 1]);
    const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
    expect(weights[0]).toBeCloseTo(sigmoid(-1) / (sigmoid(-1) + sigmoid(1)), 7);
  });

  it('gives weight zero, not NaN, when every chosen score underflows', () => {
    const router = createRouter({ experts: 4, topK: 2, scoring: 'sigmoid' });
    expect([...router.route(new Float32Array(4).fill(-3e38), 1).weights]).toEqual([0, 0]);
  });

  it('scores by sqrt(softplus)', () => {
    const router = createRouter({ experts: 3, topK: 3, scoring: 'sqrtSoftplus', normalize: false });
    const { indices, weights } = router.route(Float32Array.of(0, 400, 1.5), 1);
    expect([...indices]).toEqual([1, 2, 0]);
    expect([...weights]).toEqual(
      [20, Math.sqrt(Math.log1p(Math.exp(1.5))), Math.sqrt(Math.LN2)].map(Math.fround),
    );
  });

  it('overwrites counts and leaves what lies behind the shapes alone', () => {
    const router = createRouter(v3);
    const out = {
      indices: new Int32Array(9).fill(-7),
      weights: new Float32Array(9).fill(-7),
      counts: new Int32Array(17).fill(-7),
    };
    router.routeInto(logits, 2, out);
    const fresh = router.route(logits, 2);
    expect(out.indices.subarray(0, 8)).toEqual(fresh.indices);
    expect(out.weights.subarray(0, 8)).toEqual(fresh.weights);
    expect(out.counts.subarray(0, 16)).toEqual(fresh.counts);
    expect([out.indices[8], out.weights[8], out.counts[16]]).toEqual([-7, -7, -7]);
  });
});
