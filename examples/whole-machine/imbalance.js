import { gpuLoads } from '@moestack/placement';

/** Load of the fullest rank of each layer. */
export function fullestOf(load, plan) {
  const { gpus } = plan.deployment;
  const loads = gpuLoads(load, plan);
  return Array.from({ length: load.layers }, (_, layer) =>
    Math.max(...loads.subarray(layer * gpus, (layer + 1) * gpus)),
  );
}

/** Load of the fullest rank over the mean, over all layers: what an exchange waits for. */
export function imbalanceOf(load, plan) {
  const total = load.counts.reduce((sum, count) => sum + count, 0);
  return (fullestOf(load, plan).reduce((sum, full) => sum + full, 0) * plan.deployment.gpus) / total;
}
