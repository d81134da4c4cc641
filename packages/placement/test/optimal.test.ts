import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Deployment, gpuLoads, type Load, lowerBound, type Plan, rebalance } from '../src/index.js';
import { checkPlan } from '../src/operands.js';
import { eplbCases, maxima } from './placement-cases.js';

function duplicates(plan: Plan): number {
  const slots = plan.deployment.replicas / plan.deployment.gpus;
  let found = 0;
  for (let s = 0; s < plan.physicalToLogical.length; s += slots) {
    found += slots - new Set(plan.physicalToLogical.subarray(s, s + slots)).size;
  }
  return found;
}

/** Mean and worst of maximum over bound for the layers of a case. */
function overBound(name: string): { mean: number; worst: number } {
  const golden = eplbCases.find((c) => c.name === name)!;
  const { load, deployment } = golden;
  const max = maxima(gpuLoads(load, rebalance(load, deployment)), deployment.gpus);
  const ratios = max.map((m, layer) => m / golden.bounds.lower_bound[layer]!);
  return { mean: ratios.reduce((a, b) => a + b, 0) / ratios.length, worst: Math.max(...ratios) };
}

describe('optimal plans', () => {
  it.each([
    ['prefill_zipf', 1.0015, 1.025],
    ['prefill_lognormal', 1.0015, 1.025],
    ['prefill_dirichlet', 1.0015, 1.025],
    ['prefill_grouped', 1.0015, 1.025],
    ['prefill_grouped_global', 1.004, 1.01],
    ['decode_ep128', 1.004, 1.01],
    ['qwen3_128', 1.004, 1.01],
    ['kimi_384', 1.004, 1.01],
    ['decode_ep144', 1.027, 1.05],
    ['ep64_8node', 1.006, 1.01],
    ['no_redundancy', 1.03, 1.05],
    ['decode_ep320', 1 + 1e-7, 1 + 1e-7],
  ])('of %s stay within %d of the fixture bound, every layer within %d', (name, mean, worst) => {
    const reached = overBound(name);
    expect(reached.mean).toBeLessThanOrEqual(mean);
    expect(reached.worst).toBeLessThanOrEqual(worst);
  });

  it.each(eplbCases)(
    'of $name are never above EPLB and hold no expert twice on a GPU',
    ({ load, deployment, bounds }) => {
      const plan = rebalance(load, deployment);
      checkPlan(plan, load.experts);
      const ours = maxima(gpuLoads(load, plan), deployment.gpus);
      const eplb = maxima(gpuLoads(load, rebalance(load, deployment, { policy: 'eplb' })), deployment.gpus);
      ours.forEach((max, layer) => {
        expect(max).toBeLessThanOrEqual(eplb[layer]!);
      });
      expect(duplicates(plan)).toBe(0);
      expect(bounds.mean.length).toBe(load.layers);
    },
  );

  it('solve the example of FlashLB', () => {
    const counts = Float64Array.of(600, 560, 120, 120, 20, 10, 10, 10);
    const load = { layers: 1, experts: 8, counts };
    const deployment = { nodes: 1, gpus: 8, replicas: 16 };
    const [max] = maxima(gpuLoads(load, rebalance(load, deployment)), 8);
    expect(max).toBeLessThanOrEqual(205);
    expect(max).toBeGreaterThanOrEqual(lowerBound(load, deployment)[0]!);
  });

  it('are whole, repeatable and never above EPLB for any load and shape', () => {
    const shape = fc.record({
      nodes: fc.integer({ min: 1, max: 4 }),
      gpusPerNode: fc.integer({ min: 1, max: 4 }),
      slots: fc.integer({ min: 1, max: 4 }),
      groupsPerNode: fc.integer({ min: 0, max: 2 }),
      fill: fc.double({ min: 0.3, max: 1, noNaN: true }),
      values: fc.array(
        fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 2e9 })),
        {
          minLength: 96,
          maxLength: 96,
        },
      ),
    });
    fc.assert(
      fc.property(shape, ({ nodes, gpusPerNode, slots, groupsPerNode, fill, values }) => {
        const gpus = nodes * gpusPerNode;
        const replicas = gpus * slots;
        const groups = groupsPerNode === 0 ? 1 : nodes * groupsPerNode;
        const experts = Math.floor((replicas * fill) / groups) * groups;
        fc.pre(experts > 0);
        const deployment: Deployment = { nodes, gpus, replicas, groups };
        const load: Load = { layers: 1, experts, counts: Int32Array.from(values.slice(0, experts)) };
        const plan = rebalance(load, deployment);
        checkPlan(plan, experts);
        expect(rebalance(load, deployment)).toEqual(plan);
        const [ours] = maxima(gpuLoads(load, plan), gpus);
        const [eplb] = maxima(gpuLoads(load, rebalance(load, deployment, { policy: 'eplb' })), gpus);
        expect(ours).toBeLessThanOrEqual(eplb! * (1 + 1e-12));
      }),
      { seed: 21, numRuns: 300 },
    );
  });
});
