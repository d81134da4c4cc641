import { PlacementError } from './errors.js';
import type { Deployment, Load, Plan } from './types.js';

/** The derived sizes that planning code works with. */
export interface Sizes {
  readonly layers: number;
  readonly experts: number;
  readonly nodes: number;
  readonly gpus: number;
  readonly replicas: number;
  readonly groups: number;
  readonly slotsPerGpu: number;
  readonly gpusPerNode: number;
  /** EPLB's rule: groups divide over the nodes, so each group may live whole on one node. */
  readonly hierarchical: boolean;
}

export function badConfig(message: string, value: unknown, remedy: string): PlacementError {
  return new PlacementError({ code: 'placement/bad-config', message, value, remedy });
}

export function badShape(message: string, value: unknown, remedy: string): PlacementError {
  return new PlacementError({ code: 'placement/bad-shape', message, value, remedy });
}

export function positiveInteger(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw badConfig(
      `expected a positive integer for ${name}, got ${value}`,
      value,
      `pass a positive integer for ${name}`,
    );
  }
  return value;
}

/** Checks a deployment for `experts` logical experts and derives its sizes. */
export function checkDeployment(layers: number, experts: number, deployment: Deployment): Sizes {
  positiveInteger('layers', layers);
  positiveInteger('experts', experts);
  const nodes = positiveInteger('nodes', deployment.nodes);
  const gpus = positiveInteger('gpus', deployment.gpus);
  const replicas = positiveInteger('replicas', deployment.replicas);
  const groups = positiveInteger('groups', deployment.groups ?? 1);
  if (replicas < experts) {
    throw badConfig(
      `expected replicas >= experts, got ${replicas} replicas for ${experts} experts`,
      replicas,
      'give every logical expert at least one physical slot',
    );
  }
  if (replicas % gpus !== 0) {
    throw badConfig(
      `expected replicas to be a multiple of gpus, got ${replicas} over ${gpus}`,
      replicas,
      `use ${Math.ceil(replicas / gpus) * gpus} replicas`,
    );
  }
  if (gpus % nodes !== 0) {
    throw badConfig(
      `expected gpus to be a multiple of nodes, got ${gpus} over ${nodes}`,
      gpus,
      'use the same number of GPUs on every node',
    );
  }
  const hierarchical = groups % nodes === 0;
  if (hierarchical && experts % groups !== 0) {
    throw badConfig(
      `expected experts to be a multiple of groups, got ${experts} over ${groups}`,
      experts,
      'pass the expert groups of the model, or leave groups out',
    );
  }
  return {
    layers,
    experts,
    nodes,
    gpus,
    replicas,
    groups,
    slotsPerGpu: replicas / gpus,
    gpusPerNode: gpus / nodes,
    hierarchical,
  };
}

/** Checks shape and values of a load; sums over a layer must stay within float32, in which EPLB computes. */
export function checkLoad(load: Load): void {
  positiveInteger('load.layers', load.layers);
  positiveInteger('load.experts', load.experts);
  const { counts } = load;
  if (
    !(counts instanceof Float64Array || counts instanceof Float32Array || counts instanceof Int32Array) ||
    counts.length !== load.layers * load.experts
  ) {
    throw badShape(
      `expected ${load.layers} x ${load.experts} values in load.counts, got ${counts?.length}`,
      counts?.length,
      'pass a Float64Array, Float32Array or Int32Array of layers x experts values',
    );
  }
  for (let layer = 0; layer < load.layers; layer++) {
    let total = 0;
    for (let expert = 0; expert < load.experts; expert++) {
      const value = counts[layer * load.experts + expert]!;
      if (!(value >= 0)) throw notFinite(layer, expert, value);
      total += value;
    }
    if (!(total < 3.4e38)) throw notFinite(layer, -1, total);
  }
}

function notFinite(layer: number, expert: number, value: number): PlacementError {
  const where = expert < 0 ? `the total of layer ${layer}` : `layer ${layer}, expert ${expert}`;
  return new PlacementError({
    code: 'placement/not-finite',
    message: `expected a finite load of at least 0 for ${where}, got ${value}`,
    value: { layer, expert, value: String(value) },
    remedy: 'pass token counts or averages of them; use 0 for layers and experts without tokens',
  });
}

/** Checks that a plan is whole: shapes, ids in range, every expert present, ranks a permutation. */
export function checkPlan(plan: Plan, experts: number): Sizes {
  const sizes = checkDeployment(plan.layers, experts, plan.deployment);
  const { layers, replicas } = sizes;
  if (
    plan.physicalToLogical.length !== layers * replicas ||
    plan.replicaRank.length !== layers * replicas ||
    plan.logicalCount.length !== layers * experts
  ) {
    throw badShape(
      `expected a plan of ${layers} layers with ${replicas} slots and ${experts} experts, got ` +
        `${plan.physicalToLogical.length}, ${plan.replicaRank.length} and ${plan.logicalCount.length} values`,
      plan.physicalToLogical.length,
      'pass a plan made for these experts and this deployment',
    );
  }
  const seen = new Uint8Array(replicas);
  const starts = new Int32Array(experts);
  for (let layer = 0; layer < layers; layer++) {
    let start = 0;
    for (let expert = 0; expert < experts; expert++) {
      starts[expert] = start;
      const count = plan.logicalCount[layer * experts + expert]!;
      if (count < 1) throw badPlan(layer, `expert ${expert} has ${count} replicas`);
      start += count;
    }
    if (start !== replicas) throw badPlan(layer, `replica counts sum to ${start}, not to ${replicas}`);
    seen.fill(0);
    for (let slot = 0; slot < replicas; slot++) {
      const expert = plan.physicalToLogical[layer * replicas + slot]!;
      if (expert < 0 || expert >= experts) throw badPlan(layer, `slot ${slot} holds expert ${expert}`);
      const rank = plan.replicaRank[layer * replicas + slot]!;
      const count = plan.logicalCount[layer * experts + expert]!;
      if (rank < 0 || rank >= count || seen[starts[expert]! + rank] === 1) {
        throw badPlan(layer, `slot ${slot} holds replica ${rank} of expert ${expert}, which has ${count}`);
      }
      seen[starts[expert]! + rank] = 1;
    }
  }
  return sizes;
}

function badPlan(layer: number, what: string): PlacementError {
  return new PlacementError({
    code: 'placement/bad-plan',
    message: `expected a whole plan, but in layer ${layer} ${what}`,
    value: { layer, what },
    remedy: 'pass a plan as rebalance or planFromSlots returned it',
  });
}
