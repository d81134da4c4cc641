import { badShape, checkDeployment, checkPlan } from './operands.js';
import type { Deployment, Plan } from './types.js';

/**
 * The plan that a map of slots stands for; ranks ascend with the slot, as in vLLM and SGLang.
 *
 * @param physicalToLogical - [layers, replicas], the logical expert in each slot; it is copied.
 */
export function planFromSlots(
  physicalToLogical: ArrayLike<number>,
  options: { layers: number; experts: number; deployment: Deployment },
): Plan {
  const { layers, experts, deployment } = options;
  const { replicas } = checkDeployment(layers, experts, deployment);
  if (physicalToLogical.length !== layers * replicas) {
    throw badShape(
      `expected ${layers} x ${replicas} slots, got ${physicalToLogical.length}`,
      physicalToLogical.length,
      'pass one logical expert for every slot of every layer',
    );
  }
  const plan = {
    physicalToLogical: Int32Array.from(physicalToLogical),
    replicaRank: new Int32Array(layers * replicas),
    logicalCount: new Int32Array(layers * experts),
    deployment,
    layers,
  };
  for (let layer = 0; layer < layers; layer++) rankLayer(plan, layer, experts);
  checkPlan(plan, experts);
  return plan;
}

/** Derives ranks and counts of a layer from its slots; ids out of range are left to the caller's check. */
export function rankLayer(plan: Plan, layer: number, experts: number): void {
  const { physicalToLogical, replicaRank, logicalCount } = plan;
  const { replicas } = plan.deployment;
  logicalCount.fill(0, layer * experts, (layer + 1) * experts);
  for (let slot = layer * replicas; slot < (layer + 1) * replicas; slot++) {
    const expert = physicalToLogical[slot]!;
    if (expert >= 0 && expert < experts) replicaRank[slot] = logicalCount[layer * experts + expert]!++;
  }
}

/** The plan before any statistics: slot i holds expert i % experts, in every layer. */
export function initialPlan(layers: number, experts: number, deployment: Deployment): Plan {
  const { replicas } = checkDeployment(layers, experts, deployment);
  const slots = new Int32Array(layers * replicas);
  for (let i = 0; i < slots.length; i++) slots[i] = (i % replicas) % experts;
  return planFromSlots(slots, { layers, experts, deployment });
}

/** The number of logical experts of a plan. */
export function planExperts(plan: Plan): number {
  return plan.logicalCount.length / plan.layers;
}

/** Where the replicas of each logical expert are: the reverse of a plan. */
export interface LogicalToPhysical {
  /** [layers, experts, width]: slots, -1 behind the last replica. */
  readonly slots: Int32Array;
  /** The highest number of replicas of any expert, or the width asked for. */
  readonly width: number;
}

/**
 * The map from logical experts to slots.
 *
 * @param options - `order`: `rank` as EPLB (order of replication, the default) or `slot` (ascending, as vLLM and SGLang).
 */
export function logicalToPhysical(
  plan: Plan,
  options: { order?: 'rank' | 'slot'; width?: number } = {},
): LogicalToPhysical {
  const experts = planExperts(plan);
  checkPlan(plan, experts);
  let most = 0;
  for (const count of plan.logicalCount) if (count > most) most = count;
  const width = options.width ?? most;
  if (!Number.isSafeInteger(width) || width < most) {
    throw badShape(`expected a width of at least ${most}, got ${width}`, width, `pass a width >= ${most}`);
  }
  const slots = new Int32Array(plan.layers * experts * width).fill(-1);
  const { replicas } = plan.deployment;
  const next = new Int32Array(experts);
  for (let layer = 0; layer < plan.layers; layer++) {
    next.fill(0);
    for (let slot = 0; slot < replicas; slot++) {
      const expert = plan.physicalToLogical[layer * replicas + slot]!;
      const rank = options.order === 'slot' ? next[expert]!++ : plan.replicaRank[layer * replicas + slot]!;
      slots[(layer * experts + expert) * width + rank] = slot;
    }
  }
  return { slots, width };
}
