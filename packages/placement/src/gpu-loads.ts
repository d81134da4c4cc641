import { badShape, checkLoad, checkPlan } from './operands.js';
import type { Load, Plan } from './types.js';

/** Tokens on each GPU, [layers, gpus], when every expert's tokens split evenly over its replicas. */
export function gpuLoads(load: Load, plan: Plan): Float64Array {
  checkLoad(load);
  checkPlan(plan, load.experts);
  if (plan.layers !== load.layers) {
    throw badShape(
      `expected a plan of ${load.layers} layers, got ${plan.layers}`,
      plan.layers,
      'pass load and plan of the same model',
    );
  }
  const { gpus } = plan.deployment;
  const loads = new Float64Array(load.layers * gpus);
  for (let layer = 0; layer < load.layers; layer++) {
    addGpuLoads(load.counts, layer * load.experts, plan, layer, load.experts, loads, layer * gpus);
  }
  return loads;
}

/** Adds the GPU loads of one layer to `loads` from `loadsOffset` on. */
export function addGpuLoads(
  counts: ArrayLike<number>,
  countsOffset: number,
  plan: Plan,
  layer: number,
  experts: number,
  loads: Float64Array,
  loadsOffset: number,
): void {
  const { replicas, gpus } = plan.deployment;
  const { physicalToLogical, logicalCount } = plan;
  const slotsPerGpu = replicas / gpus;
  let slot = layer * replicas;
  for (let gpu = 0; gpu < gpus; gpu++) {
    let sum = 0;
    for (let i = 0; i < slotsPerGpu; i++, slot++) {
      const expert = physicalToLogical[slot]!;
      sum += counts[countsOffset + expert]! / logicalCount[layer * experts + expert]!;
    }
    loads[loadsOffset + gpu]! += sum;
  }
}
