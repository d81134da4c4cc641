import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DynamicRedundancy, type Load, rebalance } from '../src/index.js';
import { fixtureBuffer } from './placement-cases.js';

describe('DynamicRedundancy', () => {
  const deployment = { nodes: 1, gpus: 6, replicas: 24 };
  const counts = fc.array(fc.oneof(fc.constant(0), fc.nat(500)), { minLength: 12, maxLength: 12 });

  it('gives every token to an active slot of its expert and keeps to the limit where it can', () => {
    fc.assert(
      fc.property(counts, counts, fc.integer({ min: 1, max: 4 }), (history, batch, activePerGpu) => {
        const load: Load = { layers: 1, experts: 12, counts: Float64Array.from(history) };
        const plan = rebalance(load, deployment);
        const { active, quotas, maxLoad, maxActive } = new DynamicRedundancy(plan, 0, { activePerGpu }).step(
          batch,
        );
        const sums = new Array<number>(12).fill(0);
        quotas.forEach((quota, slot) => {
          sums[plan.physicalToLogical[slot]!]! += quota;
          expect(quota > 0).toBe(active[slot] === 1);
        });
        expect(sums).toEqual(batch);
        const loads = Array.from({ length: 6 }, (_, g) =>
          quotas.subarray(g * 4, g * 4 + 4).reduce((a, b) => a + b, 0),
        );
        expect(Math.max(...loads)).toBe(maxLoad);
        if (activePerGpu === 4) expect(maxActive).toBeLessThanOrEqual(4);
      }),
      { seed: 81, numRuns: 300 },
    );
  });

  it('beats static redundancy of equal memory on the bursty decode trace with one expert fewer active', () => {
    const trace = new Uint16Array(fixtureBuffer('placement/drift/drift_bursty.counts.bin'));
    const row = (minute: number): Uint16Array => trace.subarray(minute * 1024, minute * 1024 + 256);
    let fixed = 0;
    let dynamic = 0;
    for (let minute = 20; minute < 360; minute += 40) {
      const window = new Float64Array(256);
      for (let m = minute - 10; m < minute; m++) for (let e = 0; e < 256; e++) window[e]! += row(m)[e]!;
      const wide = { nodes: 18, gpus: 144, replicas: 576 };
      const plan = rebalance({ layers: 1, experts: 256, counts: window }, wide, { policy: 'eplb' });
      const batch = row(minute + 5);
      let max = 0;
      for (let g = 0; g < 144; g++) {
        let sum = 0;
        for (let s = g * 4; s < g * 4 + 4; s++) {
          const e = plan.physicalToLogical[s]!;
          sum += batch[e]! / plan.logicalCount[e]!;
        }
        max = Math.max(max, sum);
      }
      fixed += max;
      dynamic += new DynamicRedundancy(plan, 0, { activePerGpu: 3 }).step(batch).maxLoad;
    }
    expect(dynamic).toBeLessThan(fixed);
  });

  it('refuses a limit beyond what a GPU holds', () => {
    const plan = rebalance({ layers: 1, experts: 12, counts: new Float64Array(12) }, deployment);
    expect(() => new DynamicRedundancy(plan, 0, { activePerGpu: 5 })).toThrowError(/activePerGpu/);
  });
});
