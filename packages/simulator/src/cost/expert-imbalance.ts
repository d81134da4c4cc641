import { gpuLoads, initialPlan, type Load, rebalance } from '@moestack/placement';
import type { ModelShape } from '../model/model-shape.js';
import type { ExpertSkew, Pool } from './deployment.js';

/**
 * Load of the busiest GPU over the mean when experts are as popular as `skew` says and redundant ones are placed by `rebalance`.
 *
 * Without redundant experts, experts stand in their order of numbering, popularity being independent of it.
 */
export function expertImbalance(model: ModelShape, pool: Pool, skew: ExpertSkew): number {
  if (skew.kind === 'balanced') return 1;
  if (skew.kind === 'measured') return skew.imbalance;
  const { ep, gpusPerNode } = pool;
  const replicas = Math.floor((model.experts + pool.redundantExperts) / ep) * ep;
  if (ep === 1 || replicas < model.experts) return 1;
  const load = powerLawLoad(model.experts, skew.alpha);
  const nodes = ep % gpusPerNode === 0 ? ep / gpusPerNode : 1;
  const deployment = { nodes, gpus: ep, replicas };
  const plan =
    pool.redundantExperts === 0
      ? initialPlan(1, model.experts, deployment)
      : rebalance(load, deployment, { policy: 'eplb' });
  let busiest = 0;
  let total = 0;
  for (const tokens of gpuLoads(load, plan)) {
    busiest = Math.max(busiest, tokens);
    total += tokens;
  }
  return (busiest * ep) / total;
}

/** Popularity that falls with a power of an expert's place; places are spread over numbers by a fixed permutation. */
export function powerLawLoad(experts: number, alpha: number): Load {
  const counts = new Float64Array(experts);
  // A step coprime to the number of experts visits each of them once.
  let step = Math.max(1, Math.round(experts * 0.618));
  while (greatestCommonDivisor(step, experts) !== 1) step++;
  for (let place = 0; place < experts; place++) {
    counts[(place * step) % experts] = 1e6 * (place + 1) ** -alpha;
  }
  return { layers: 1, experts, counts };
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
