import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Deployment, gpuLoads, type Load, lowerBound, rebalance } from '../src/index.js';
import { eplbCases, maxima } from './placement-cases.js';

/** The optimum by trying every count and every packing; nothing of the package's own search in it. */
function bruteForce(weights: number[], gpus: number, slotsPerGpu: number): number {
  const replicas = gpus * slotsPerGpu;
  let best = Number.POSITIVE_INFINITY;
  const pack = (items: number[], loads: number[], used: number[], i: number): void => {
    if (i === items.length) {
      best = Math.min(best, Math.max(...loads));
      return;
    }
    const tried = new Set<string>();
    for (let g = 0; g < gpus; g++) {
      const state = `${loads[g]} ${used[g]}`;
      if (used[g] === slotsPerGpu || tried.has(state) || loads[g]! + items[i]! >= best) continue;
      tried.add(state);
      loads[g]! += items[i]!;
      used[g]!++;
      pack(items, loads, used, i + 1);
      used[g]!--;
      loads[g]! -= items[i]!;
    }
  };
  const choose = (expert: number, left: number, items: number[]): void => {
    if (expert === weights.length - 1) {
      const all = [...items, ...Array<number>(left).fill(weights[expert]! / left)];
      pack(
        all.sort((a, b) => b - a),
        Array(gpus).fill(0),
        Array(gpus).fill(0),
        0,
      );
      return;
    }
    for (let c = 1; c <= left - (weights.length - 1 - expert); c++) {
      choose(expert + 1, left - c, [...items, ...Array<number>(c).fill(weights[expert]! / c)]);
    }
  };
  choose(0, replicas, []);
  return best;
}

const load = (weights: number[]): Load => ({
  layers: 1,
  experts: weights.length,
  counts: Float64Array.from(weights),
});
const weights = (n: number) =>
  fc.array(fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.double({ min: 0, max: 50, noNaN: true })), {
    minLength: n,
    maxLength: n,
  });

describe('lowerBound', () => {
  it.each([
    [6, 8, 4, 300, 1.03],
    [9, 12, 4, 60, 1.02],
    [5, 6, 2, 100, 1.03],
    [7, 7, 7, 60, 1.03],
  ])(
    'is never above the optimum and close to it at %i experts, %i replicas, %i GPUs',
    (experts, replicas, gpus, runs, aim) => {
      let ratios = 0;
      let n = 0;
      fc.assert(
        fc.property(weights(experts), (w) => {
          const optimum = bruteForce(w, gpus, replicas / gpus);
          const [bound] = lowerBound(load(w), { nodes: 1, gpus, replicas });
          expect(bound).toBeLessThanOrEqual(optimum);
          if (optimum > 0) {
            ratios += optimum / bound!;
            n++;
          }
        }),
        { seed: 11, numRuns: runs },
      );
      expect(ratios / n).toBeLessThanOrEqual(aim);
    },
  );

  it('is never above a plan that a search finds, where no optimum is known', () => {
    const shape = fc.record({
      gpus: fc.integer({ min: 2, max: 12 }),
      slots: fc.integer({ min: 1, max: 5 }),
      spare: fc.integer({ min: 0, max: 12 }),
      skew: fc.double({ min: 0, max: 3, noNaN: true }),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(shape, ({ gpus, slots, spare, skew, seed }) => {
        const replicas = gpus * slots;
        const experts = Math.max(1, replicas - spare);
        const w = Array.from({ length: experts }, (_, i) =>
          Math.round(1000 * (1 + (((i * 7919 + seed) >>> 0) % 97)) ** -skew * 100),
        );
        const deployment: Deployment = { nodes: 1, gpus, replicas };
        const [bound] = lowerBound(load(w), deployment);
        const [reached] = maxima(gpuLoads(load(w), rebalance(load(w), deployment)), gpus);
        expect(bound).toBeLessThanOrEqual(reached!);
      }),
      { seed: 12, numRuns: 400 },
    );
  });

  it('holds for every plan known of the fixtures and is no weaker than their bound', () => {
    for (const golden of eplbCases) {
      const bounds = lowerBound(golden.load, golden.deployment);
      bounds.forEach((bound, layer) => {
        // Fixture figures are rounded to four decimals.
        expect(bound).toBeLessThanOrEqual(golden.bounds.best_known[layer]! + 1e-4);
        expect(bound).toBeLessThanOrEqual(golden.bounds.eplb[layer]! + 1e-4);
      });
      const strength = bounds.reduce((sum, b, l) => sum + (b || 1) / (golden.bounds.lower_bound[l] || 1), 0);
      expect(strength / bounds.length).toBeGreaterThan(0.9999);
    }
  });

  it('bounds group-local plans where groups divide over nodes, any plan elsewhere', () => {
    const hot = load([100, 100, 100, 100, 1, 1, 1, 1]);
    expect(lowerBound(hot, { nodes: 2, gpus: 4, replicas: 8, groups: 2 })[0]).toBeCloseTo(200, 6);
    expect(lowerBound(hot, { nodes: 2, gpus: 4, replicas: 8 })[0]).toBeCloseTo(101, 6);
  });

  it('is zero without load', () => {
    expect(lowerBound(load([0, 0, 0, 0]), { nodes: 1, gpus: 2, replicas: 4 })).toEqual(Float64Array.of(0));
  });
});
