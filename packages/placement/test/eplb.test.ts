import { describe, expect, it } from 'vitest';
import { gpuLoads, logicalToPhysical, rebalance } from '../src/index.js';
import { eplbCases } from './placement-cases.js';

describe.each(eplbCases)('EPLB on $name', (golden) => {
  const { load, deployment } = golden;
  const plan = rebalance(load, deployment, { policy: 'eplb', ties: 'torch' });

  it('equals the reference slot by slot', () => {
    expect(plan.physicalToLogical).toEqual(Int32Array.from(golden.physicalToLogical));
    expect(plan.replicaRank).toEqual(Int32Array.from(golden.replicaRank));
    expect(plan.logicalCount).toEqual(Int32Array.from(golden.logicalCount));
  });

  it('differs under stable ties only in what ties leave open', () => {
    const stable = rebalance(load, deployment, { policy: 'eplb', ties: 'stable' });
    expect(stable.logicalCount).toEqual(plan.logicalCount);
    const loads = gpuLoads(load, plan);
    const stableLoads = gpuLoads(load, stable);
    // The sums run in another order, so they agree to rounding.
    for (let i = 0; i < loads.length; i++) {
      expect(Math.abs(loads[i]! - stableLoads[i]!)).toBeLessThanOrEqual(1e-12 * loads[i]!);
    }
  });

  it.runIf(golden.log2phy)('gives the reference map from experts to slots', () => {
    const { shape, values } = golden.log2phy!;
    const { slots, width } = logicalToPhysical(plan);
    expect(width).toBe(shape[2]);
    expect(slots).toEqual(Int32Array.from(values));
  });
});
