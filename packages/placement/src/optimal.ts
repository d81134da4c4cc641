import { eplb } from './eplb.js';
import { LayerPlanner } from './layer-planner.js';
import { NodeCopies } from './locality.js';
import { NodePreservingPlanner } from './node-preserving.js';
import type { Sizes } from './operands.js';
import { rankLayer } from './plan.js';
import { Relabeller } from './relabel.js';
import { SpreadPlanner } from './spread-planner.js';
import type { Deployment, Load, Plan } from './types.js';

/** What `optimal` may and must regard besides the load. */
export interface OptimalOptions {
  readonly previous: Plan | undefined;
  /** Allowed growth of expected node copies as a fraction; Infinity ignores them. */
  readonly localityBudget: number;
}

/**
 * Plans every layer for the lowest maximum GPU load. Candidates differ in locality: groups whole on nodes (or spread
 * over few nodes where they do not divide), a rearrangement inside nodes, anything anywhere. The best candidate whose
 * expected node copies stay within the budget over the reference (the previous plan, else the most local one) wins.
 */
export function optimal(load: Load, deployment: Deployment, sizes: Sizes, options: OptimalOptions): Plan {
  const { layers, experts, replicas } = sizes;
  const plan: Plan = {
    physicalToLogical: new Int32Array(layers * replicas),
    replicaRank: new Int32Array(layers * replicas),
    logicalCount: new Int32Array(layers * experts),
    deployment,
    layers,
  };
  const { previous, localityBudget } = options;
  const candidates = makeCandidates(load, deployment, sizes, options);
  const first = new Int32Array(replicas * layers);
  const copies = candidates.length > 1 || previous !== undefined ? new NodeCopies(sizes) : undefined;
  const relabeller = previous === undefined ? undefined : new Relabeller(sizes, localityBudget > 0);
  for (let layer = 0; layer < layers; layer++) {
    const at = layer * replicas;
    const offset = layer * experts;
    let best = Number.POSITIVE_INFINITY;
    let limit = Number.POSITIVE_INFINITY;
    if (previous !== undefined && copies !== undefined) {
      limit = copies.of(load.counts, offset, previous.physicalToLogical, at) * (1 + localityBudget);
    }
    for (let c = 0; c < candidates.length; c++) {
      candidates[c]!(layer, first);
      const slots = first.subarray(at, at + replicas);
      const cost = copies === undefined ? 0 : copies.of(load.counts, offset, slots, 0);
      if (c === 0 && previous === undefined) limit = cost * (1 + localityBudget);
      // The first candidate is the reference itself or keeps to its nodes.
      if (c > 0 && cost > limit * (1 + 1e-12)) continue;
      const max = highest(load, offset, slots, sizes);
      if (c > 0 && max >= best) continue;
      best = max;
      plan.physicalToLogical.set(slots, at);
    }
    if (previous !== undefined) {
      relabeller!.relabel(previous.physicalToLogical, plan.physicalToLogical, at);
    }
    rankLayer(plan, layer, experts);
  }
  return plan;
}

type Candidate = (layer: number, out: Int32Array) => void;

/** From the most local to the least. */
function makeCandidates(
  load: Load,
  deployment: Deployment,
  sizes: Sizes,
  { previous, localityBudget }: OptimalOptions,
): Candidate[] {
  const { experts, replicas, nodes, groups, hierarchical } = sizes;
  const { counts } = load;
  const grouped = hierarchical && nodes > 1;
  const candidates: Candidate[] = [];
  if (previous !== undefined && localityBudget !== Number.POSITIVE_INFINITY) {
    const planner = new NodePreservingPlanner(sizes);
    candidates.push((layer, out) =>
      planner.plan(counts, layer * experts, previous.physicalToLogical, out, layer * replicas),
    );
    if (localityBudget === 0) return candidates;
  }
  if (grouped && localityBudget !== Number.POSITIVE_INFINITY) {
    const planner = new LayerPlanner(sizes, true);
    const reference = eplb(load, deployment, sizes, 'stable').physicalToLogical;
    candidates.push((layer, out) => planner.plan(counts, layer * experts, out, layer * replicas, reference));
  }
  const global = { ...sizes, hierarchical: false };
  const reference = eplb(load, deployment, global, 'stable').physicalToLogical;
  const planner = new LayerPlanner(sizes, false);
  const anywhere: Candidate = (layer, out) =>
    planner.plan(counts, layer * experts, out, layer * replicas, reference);
  if (!grouped && groups > 1 && nodes > 1 && localityBudget !== Number.POSITIVE_INFINITY) {
    const spread = new SpreadPlanner(sizes);
    candidates.push((layer, out) => {
      anywhere(layer, out);
      spread.plan(counts, layer * experts, out, layer * replicas);
    });
  }
  if (localityBudget > 0 || candidates.length === 0) candidates.push(anywhere);
  return candidates;
}

/** The highest GPU load of a layer. */
function highest(load: Load, offset: number, slots: Int32Array, sizes: Sizes): number {
  const counts = new Int32Array(sizes.experts);
  for (let s = 0; s < sizes.replicas; s++) counts[slots[s]!]!++;
  let max = 0;
  for (let s = 0; s < sizes.replicas; s += sizes.slotsPerGpu) {
    let sum = 0;
    for (let i = s; i < s + sizes.slotsPerGpu; i++)
      sum += load.counts[offset + slots[i]!]! / counts[slots[i]!]!;
    if (sum > max) max = sum;
  }
  return max;
}
