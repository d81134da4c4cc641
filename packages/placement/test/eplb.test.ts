import { describe, expect, it } from 'vitest';
import { gpuLoads, logicalToPhysical, rebalance } from '../src/index.js';
import { eplbCases } from './placement-cases.js';

/** First index where two arrays differ, -1 for equal ones; far quicker than a deep comparison. */
function difference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Math.min(a.length, b.length);
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

describe.each(eplbCases)('EPLB on $name', (golden) => {
  const { load, deployment } = golden;
  const plan = rebalance(load, deployment, { policy: 'eplb', ties: 'torch' });

  it('equals the reference slot by slot', () => {
    expect(difference(plan.physicalToLogical, golden.physicalToLogical)).toBe(-1);
    expect(difference(plan.replicaRank, golden.replicaRank)).toBe(-1);
    expect(difference(plan.logicalCount, golden.logicalCount)).toBe(-1);
  });

  it('differs under stable ties only in what ties leave open', () => {
    const stable = rebalance(load, deployment, { policy: 'eplb', ties: 'stable' });
    expect(difference(stable.logicalCount, plan.logicalCount)).toBe(-1);
    const loads = gpuLoads(load, plan);
    const stableLoads = gpuLoads(load, stable);
    // The sums run in another order, so they agree to rounding.
    const worst = loads.reduce(
      (most, value, i) => Math.max(most, Math.abs(value - stableLoads[i]!) / (value || 1)),
      0,
    );
    expect(worst).toBeLessThanOrEqual(1e-12);
  });
});

describe.each(eplbCases.filter((golden) => golden.log2phy !== undefined))(
  'the reverse map of $name',
  (golden) => {
    it('lists slots by rank as the reference does', () => {
      const { shape, values } = golden.log2phy!;
      const plan = rebalance(golden.load, golden.deployment, { policy: 'eplb' });
      const { slots, width } = logicalToPhysical(plan);
      expect(width).toBe(shape[2]);
      expect(difference(slots, values)).toBe(-1);
    });
  },
);
