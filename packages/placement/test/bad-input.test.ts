import { describe, expect, it } from 'vitest';
import {
  type Deployment,
  decodeLoad,
  decodePlan,
  encodeLoad,
  encodePlan,
  gpuLoads,
  initialPlan,
  type Load,
  lowerBound,
  PlacementError,
  type Policy,
  rebalance,
  reportPlan,
} from '../src/index.js';
import { checkPlan } from '../src/operands.js';
import { fuzz } from './fuzz-placement-files.js';

const deployment: Deployment = { nodes: 2, gpus: 4, replicas: 12, groups: 2 };
const load = (counts: ArrayLike<number>, layers = 1): Load => ({
  layers,
  experts: 8,
  counts: Float64Array.from(counts),
});
const ones = load(new Array(8).fill(1));
const policies: Policy[] = ['eplb', 'optimal', 'incremental'];

function expectCode(run: () => unknown, code: string): void {
  try {
    run();
  } catch (error) {
    expect(PlacementError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ code });
    expect((error as PlacementError).remedy.length).toBeGreaterThan(0);
    return;
  }
  throw new Error(`expected ${code}`);
}

describe.each(policies)('%s', (policy) => {
  const previous = initialPlan(2, 8, deployment);

  it('plans layers without load, with one expert only, and with counts beyond 2^24', () => {
    const rows = [
      new Array(8).fill(0),
      [0, 0, 0, 5, 0, 0, 0, 0],
      [2 ** 31, 2 ** 40, 3, 2 ** 24 + 1, 1e15, 0, 0, 1],
      [1e-30, 0, 1e-38, 1e-45, 0, 0, 0, 0],
    ];
    for (const a of rows) {
      for (const b of rows) {
        const two = load([...a, ...b], 2);
        const plan = rebalance(two, deployment, policy === 'incremental' ? { policy, previous } : { policy });
        checkPlan(plan, 8);
        for (const value of gpuLoads(two, plan)) expect(Number.isFinite(value)).toBe(true);
        for (const value of lowerBound(two, deployment)) expect(Number.isFinite(value)).toBe(true);
        const report = reportPlan(two, plan);
        for (const layer of report.layers) {
          for (const value of Object.values(layer)) expect(Number.isFinite(value)).toBe(true);
        }
      }
    }
  });

  it('refuses what it cannot plan', () => {
    const plan = (l: Load, d: Deployment): unknown => rebalance(l, d, { policy });
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      expectCode(() => plan(load([bad, 1, 1, 1, 1, 1, 1, 1]), deployment), 'placement/not-finite');
    }
    expectCode(() => plan(load([1e38, 1e38, 1e38, 1e38, 1, 1, 1, 1]), deployment), 'placement/not-finite');
    expectCode(() => plan(load([1, 1]), deployment), 'placement/bad-shape');
    expectCode(() => plan(ones, { ...deployment, replicas: 13 }), 'placement/bad-config');
    expectCode(() => plan(ones, { ...deployment, replicas: 4 }), 'placement/bad-config');
    expectCode(() => plan(ones, { ...deployment, gpus: 3 }), 'placement/bad-config');
    expectCode(() => plan(ones, { ...deployment, groups: 6 }), 'placement/bad-config');
    expectCode(() => plan(ones, { ...deployment, nodes: 0 }), 'placement/bad-config');
    expectCode(() => plan(ones, { ...deployment, gpus: 2.5 }), 'placement/bad-config');
  });
});

describe('options', () => {
  it('are checked', () => {
    expectCode(() => rebalance(ones, deployment, { policy: 'best' as Policy }), 'placement/bad-config');
    expectCode(() => rebalance(ones, deployment, { ties: 'numpy' as 'torch' }), 'placement/bad-config');
    expectCode(() => rebalance(ones, deployment, { localityBudget: -1 }), 'placement/bad-config');
    expectCode(() => rebalance(ones, deployment, { localityBudget: Number.NaN }), 'placement/bad-config');
  });

  it('refuse a previous plan of another shape or with a hole', () => {
    const previous = initialPlan(1, 8, { nodes: 2, gpus: 4, replicas: 16 });
    expectCode(() => rebalance(ones, deployment, { previous }), 'placement/bad-shape');
    const broken = initialPlan(1, 8, deployment);
    broken.physicalToLogical[0] = 7;
    expectCode(() => rebalance(ones, deployment, { previous: broken }), 'placement/bad-plan');
    expectCode(() => gpuLoads(ones, broken), 'placement/bad-plan');
  });
});

describe('files', () => {
  it('come back as they were', () => {
    const plan = rebalance(ones, deployment, { policy: 'eplb' });
    expect(decodePlan(encodePlan(plan))).toEqual(plan);
    expect(decodeLoad(encodeLoad(ones))).toEqual(ones);
  });

  it('end in a typed error or a whole plan, however they are damaged', async () => {
    const { rejected, runs } = await fuzz(1, 2000);
    expect(runs).toBe(2000);
    expect(rejected).toBeGreaterThan(1000);
  });
});
