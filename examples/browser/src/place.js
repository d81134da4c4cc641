import { gpuLoads, initialPlan, lowerBound, rebalance } from '@moestack/placement';

/** Plans for one layer with these counts, each with the load of every GPU. */
export function place(counts, { gpus, redundant }) {
  const load = { layers: 1, experts: counts.length, counts: Float64Array.from(counts) };
  const deployment = { nodes: gpus / 8, gpus, replicas: counts.length + gpus * redundant };
  const plans = [
    ['in order', initialPlan(1, counts.length, deployment)],
    ['EPLB', rebalance(load, deployment, { policy: 'eplb' })],
    ['optimal', rebalance(load, deployment)],
  ].map(([name, plan]) => ({ name, loads: gpuLoads(load, plan) }));
  return { plans, bound: lowerBound(load, deployment)[0] };
}
