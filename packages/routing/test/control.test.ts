import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type BiasControllerOptions,
  createBiasController,
  createLoadTracker,
  createRouter,
  gammaUntil,
  loadMetrics,
  RoutingError,
} from '../src/index.js';
import { balanceCases, logitsOf } from './balance-cases.js';

function close(actual: ArrayLike<number>, expected: readonly number[]): void {
  expected.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(1e-12);
  });
}

describe.each(balanceCases)('bias updates of $name', ({ data }) => {
  const { bias_update: update, E: experts } = data;

  it('follow both rules', () => {
    for (const rule of ['sign', 'proportional'] as const) {
      const control = createBiasController({ experts, gamma: update.gamma, rule, initialBias: data.bias });
      expect(control.update(Float64Array.from(update.counts))).toBe(update.load['maxVio']);
      close(control.exactBias, update[rule]);
      expect(control.bias).toEqual(Float32Array.from(control.exactBias));
    }
  });

  it('leave an expert with the mean load alone', () => {
    const { tie_example: tie } = update;
    const control = createBiasController({ experts: 4, gamma: tie.gamma, initialBias: tie.bias });
    control.update(Int32Array.from(tie.counts));
    close(control.exactBias, tie.new);
  });

  it('give the load metrics', () => {
    const metrics = loadMetrics(update.counts);
    const { load } = update;
    const names: Record<string, keyof typeof metrics> = {
      cv2_unbiased: 'cv2Unbiased',
      normEntropy: 'normalizedEntropy',
      balancedness_mean_over_max: 'balancedness',
    };
    for (const [name, expected] of Object.entries(load)) {
      const actual = metrics[names[name] ?? (name as keyof typeof metrics)];
      expect(Math.abs(actual - expected), name).toBeLessThanOrEqual(1e-12);
    }
  });

  it('reach the golden bias in 300 steps, also when stopped and resumed', () => {
    const { gamma, steps, maxVio_at, final_bias } = data.bias_trajectory;
    const router = createRouter({
      experts,
      topK: data.K,
      groups: data.G,
      topKGroups: data.L,
      scoring: 'sigmoid',
    });
    const logits = Float32Array.from(logitsOf(data));
    const options: BiasControllerOptions = { experts, gamma, topK: data.K };
    let control = createBiasController(options);
    for (let step = 0; step < steps; step++) {
      if (step === 137) {
        const state = JSON.parse(JSON.stringify(control.state()));
        control = createBiasController(options);
        control.restore(state);
      }
      const maxVio = control.update(router.route(logits, data.T, { bias: control.bias }).counts);
      const expected = maxVio_at[String(step)];
      if (expected !== undefined) expect(Math.abs(maxVio - expected)).toBeLessThanOrEqual(1e-12);
    }
    close(control.exactBias, final_bias);
    expect(control.progress).toEqual({ step: steps, tokens: steps * data.T });
  });
});

describe('createBiasController', () => {
  it('uses global counts when a reducer is given, so that all ranks hold the same bias', () => {
    const locals = [Int32Array.of(4, 0, 2), Int32Array.of(0, 8, 1)];
    const global = Float64Array.of(4, 8, 3);
    const whole = createBiasController({ experts: 3, gamma: 0.1, rule: 'proportional' });
    whole.update(global);
    for (const local of locals) {
      const part = createBiasController({
        experts: 3,
        gamma: 0.1,
        rule: 'proportional',
        reduceCounts: (counts) => counts.set(global),
      });
      expect(part.update(local)).toBe(loadMetrics(global).maxVio);
      expect(part.exactBias).toEqual(whole.exactBias);
    }
  });

  it('freezes when its schedule says so', () => {
    const control = createBiasController({ experts: 2, topK: 2, gamma: gammaUntil(0.5, { tokens: 9 }) });
    for (let step = 0; step < 5; step++) control.update(Int32Array.of(8, 0));
    expect([...control.exactBias]).toEqual([-1.5, 1.5]);
    const stepped = createBiasController({ experts: 2, gamma: gammaUntil(1, { steps: 1, after: 0.25 }) });
    for (let step = 0; step < 3; step++) stepped.update(Int32Array.of(8, 0));
    expect([...stepped.exactBias]).toEqual([-1.5, 1.5]);
  });

  it('changes nothing when it refuses', () => {
    const control = createBiasController({ experts: 2, gamma: 1 });
    control.update(Int32Array.of(1, 3));
    const before = control.state();
    expect(() => control.update(Int32Array.of(1))).toThrow(RoutingError);
    expect(() => control.update(Float64Array.of(1, Number.NaN))).toThrow(RoutingError);
    expect(() => control.update(Float64Array.of(1, -1))).toThrow(RoutingError);
    expect(() => control.restore({ ...before, bias: [1] })).toThrow(RoutingError);
    expect(() => control.restore({ ...before, bias: [1, Number.NaN] })).toThrow(RoutingError);
    expect(() => control.restore({ ...before, step: -1 })).toThrow(RoutingError);
    expect(() => control.restore({ ...before, schemaVersion: 2 as 1 })).toThrow(
      expect.objectContaining({ code: 'routing/bad-state' }) as RoutingError,
    );
    expect(control.state()).toEqual(before);
    expect(() => createBiasController({ experts: 2, gamma: -1 })).toThrow(RoutingError);
    expect(() => createBiasController({ experts: 2, gamma: 1, rule: 'other' as 'sign' })).toThrow(
      RoutingError,
    );
  });
});

describe('loadMetrics', () => {
  it('has its bounds at an even load and at a single loaded expert', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.integer({ min: 1, max: 1e6 }), (n, load) => {
        const even = loadMetrics(new Array<number>(n).fill(load));
        expect(even.maxVio).toBe(0);
        expect(even.gini).toBe(0);
        expect(even.balancedness).toBe(1);
        expect(even.normalizedEntropy).toBeCloseTo(1, 12);
        const single = loadMetrics([load, ...new Array<number>(n - 1).fill(0)]);
        expect(single.maxVio).toBeCloseTo(n - 1, 9);
        expect(single.minVio).toBe(1);
        expect(single.gini).toBeCloseTo(1 - 1 / n, 12);
        expect(single.entropy).toBeCloseTo(0, 12);
        expect(single.cv2Unbiased).toBeCloseTo(n, 9);
      }),
      { seed: 20_250_104, numRuns: 100 },
    );
    expect(loadMetrics([0, 0])).toMatchObject({ maxVio: 0, balancedness: 1, normalizedEntropy: 1 });
    expect(loadMetrics([])).toMatchObject({ maxVio: 0, total: 0 });
    expect(loadMetrics([7])).toMatchObject({ maxVio: 0, cv2Unbiased: 0, normalizedEntropy: 1 });
  });
});

describe('createLoadTracker', () => {
  it('tells the imbalance of single batches from that of all together', () => {
    const tracker = createLoadTracker(2);
    expect(tracker.batchMaxVio()).toBe(0);
    expect(tracker.add(Int32Array.of(4, 0)).maxVio).toBe(1);
    tracker.add(Int32Array.of(0, 4));
    expect(tracker.batchMaxVio()).toBe(1);
    expect(tracker.global().maxVio).toBe(0);
    expect([...tracker.totals]).toEqual([4, 4]);
    tracker.reset();
    expect(tracker.batches).toBe(0);
    expect(() => tracker.add(Int32Array.of(1))).toThrow(RoutingError);
  });
});
