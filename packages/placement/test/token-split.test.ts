import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Plan, planFromSlots, rebalance, TokenSplitter } from '../src/index.js';
import { fixtureBuffer } from './placement-cases.js';

/** Whether a maximum load of `cap` is possible: Ford-Fulkerson on experts -> GPUs, independent of the package. */
function feasible(counts: readonly number[], plan: Plan, cap: number): boolean {
  const slots = plan.deployment.replicas / plan.deployment.gpus;
  const places = counts.map(() => new Set<number>());
  plan.physicalToLogical.subarray(0, plan.deployment.replicas).forEach((e, s) => {
    places[e]!.add(Math.floor(s / slots));
  });
  const flow = counts.map(() => new Map<number, number>());
  const load = new Array<number>(plan.deployment.gpus).fill(0);
  const push = (e: number, want: number, seen: Set<number>): number => {
    for (const g of places[e]!) {
      if (seen.has(g)) continue;
      seen.add(g);
      let room = cap - load[g]!;
      if (room <= 0) {
        for (let other = 0; other < counts.length && room <= 0; other++) {
          const there = flow[other]!.get(g) ?? 0;
          if (other === e || there === 0) continue;
          const moved = push(other, Math.min(there, want), seen);
          if (moved === 0) continue;
          flow[other]!.set(g, there - moved);
          load[g]! -= moved;
          room = cap - load[g]!;
        }
      }
      const amount = Math.min(room, want);
      if (amount <= 0) continue;
      flow[e]!.set(g, (flow[e]!.get(g) ?? 0) + amount);
      load[g]! += amount;
      return amount;
    }
    return 0;
  };
  return counts.every((count, e) => {
    for (let left = count; left > 0; ) {
      const moved = push(e, left, new Set());
      if (moved === 0) return false;
      left -= moved;
    }
    return true;
  });
}

function check(plan: Plan, counts: readonly number[]): number {
  const quotas = new Int32Array(plan.deployment.replicas);
  const max = new TokenSplitter(plan, 0).splitInto(counts, quotas);
  const sums = counts.map(() => 0);
  const loads = new Array<number>(plan.deployment.gpus).fill(0);
  const slots = plan.deployment.replicas / plan.deployment.gpus;
  quotas.forEach((quota, s) => {
    expect(quota).toBeGreaterThanOrEqual(0);
    sums[plan.physicalToLogical[s]!]! += quota;
    loads[Math.floor(s / slots)]! += quota;
  });
  expect(sums).toEqual(counts);
  expect(Math.max(...loads)).toBe(max);
  return max;
}

describe('TokenSplitter', () => {
  it('reaches the optimum of whole tokens exactly', () => {
    const shape = fc.record({
      slots: fc.array(fc.nat(7), { minLength: 4, maxLength: 4 }),
      counts: fc.array(fc.nat(60), { minLength: 8, maxLength: 8 }),
      turn: fc.nat(100),
    });
    fc.assert(
      fc.property(shape, ({ slots, counts, turn }) => {
        const row = [0, 1, 2, 3, 4, 5, 6, 7, ...slots];
        const turned = row.map((_, i) => row[(i * 5 + turn) % 12]!);
        const plan = planFromSlots(turned, {
          layers: 1,
          experts: 8,
          deployment: { nodes: 1, gpus: 4, replicas: 12 },
        });
        const max = check(plan, counts);
        expect(feasible(counts, plan, max)).toBe(true);
        if (max > 0) expect(feasible(counts, plan, max - 1)).toBe(false);
      }),
      { seed: 41, numRuns: 400 },
    );
  });

  it('is optimal on the decode deployment at full size, where one GPU in five shares an expert', () => {
    const counts = new Uint16Array(fixtureBuffer('placement/drift/drift_bursty.counts.bin'));
    const layer = (minute: number): number[] => [...counts.subarray(minute * 1024, minute * 1024 + 256)];
    const deployment = { nodes: 18, gpus: 144, replicas: 288 };
    const plan = rebalance({ layers: 1, experts: 256, counts: Float64Array.from(layer(100)) }, deployment);
    for (const minute of [101, 150, 300]) {
      const max = check(plan, layer(minute));
      expect(feasible(layer(minute), plan, max)).toBe(true);
      expect(feasible(layer(minute), plan, max - 1)).toBe(false);
    }
  });

  it('refuses what is no count of tokens', () => {
    const plan = planFromSlots([0, 1], {
      layers: 1,
      experts: 2,
      deployment: { nodes: 1, gpus: 2, replicas: 2 },
    });
    const splitter = new TokenSplitter(plan, 0);
    for (const bad of [[1, -1], [1, 0.5], [Number.NaN, 1], [1]]) {
      expect(() => splitter.splitInto(bad, new Int32Array(2))).toThrowError(/count/);
    }
  });
});
