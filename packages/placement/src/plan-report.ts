import { type BalanceMetrics, balanceMetrics } from './balance.js';
import { gpuLoads } from './gpu-loads.js';
import { NodeCopies, type RoutingShape } from './locality.js';
import { LayerBound } from './lower-bound.js';
import { badShape, checkPlan } from './operands.js';
import type { Load, Plan } from './types.js';

/** Figures of one layer of a plan under a load. */
export interface LayerReport {
  readonly meanLoad: number;
  readonly maxLoad: number;
  /** Proven lower bound on the maximum; see `lowerBound`. */
  readonly lowerBound: number;
  /** maxLoad / lowerBound - 1; 0 without load. Below 0 where the plan is not group-local and so not bound by locality. */
  readonly gap: number;
  /** Expected nodes other than its own that a token is copied to. */
  readonly internodeCopies: number;
  /** Slots that hold an expert which their GPU holds already. */
  readonly duplicates: number;
}

/** What a plan achieves under a load. */
export interface PlanReport {
  readonly layers: readonly LayerReport[];
  /** Means over layers. */
  readonly gap: number;
  readonly worstGap: number;
  readonly internodeCopies: number;
  readonly duplicates: number;
  readonly balance: BalanceMetrics;
}

/** Balance, gap to the proven bound and expected traffic between nodes of a plan, layer by layer. */
export function reportPlan(load: Load, plan: Plan, shape: RoutingShape = {}): PlanReport {
  const loads = gpuLoads(load, plan);
  const sizes = checkPlan(plan, load.experts);
  if (plan.layers !== load.layers) {
    throw badShape(
      'expected load and plan of the same layers',
      plan.layers,
      'pass load and plan of one model',
    );
  }
  const copies = new NodeCopies(sizes, shape);
  const bounds = new LayerBound(sizes);
  const { gpus, replicas, experts, slotsPerGpu } = sizes;
  const layers = Array.from({ length: load.layers }, (_, layer): LayerReport => {
    const row = loads.subarray(layer * gpus, (layer + 1) * gpus);
    const maxLoad = row.reduce((a, b) => Math.max(a, b), 0);
    const lowerBound = bounds.of(load.counts, layer * experts);
    let duplicates = 0;
    for (let s = layer * replicas; s < (layer + 1) * replicas; s += slotsPerGpu) {
      duplicates += slotsPerGpu - new Set(plan.physicalToLogical.subarray(s, s + slotsPerGpu)).size;
    }
    return {
      meanLoad: row.reduce((a, b) => a + b, 0) / gpus,
      maxLoad,
      lowerBound,
      gap: lowerBound > 0 ? maxLoad / lowerBound - 1 : 0,
      internodeCopies: copies.of(load.counts, layer * experts, plan.physicalToLogical, layer * replicas),
      duplicates,
    };
  });
  const mean = (pick: (layer: LayerReport) => number): number =>
    layers.reduce((sum, layer) => sum + pick(layer), 0) / layers.length;
  return {
    layers,
    gap: mean((l) => l.gap),
    worstGap: layers.reduce((worst, l) => Math.max(worst, l.gap), Number.NEGATIVE_INFINITY),
    internodeCopies: mean((l) => l.internodeCopies),
    duplicates: layers.reduce((sum, l) => sum + l.duplicates, 0),
    balance: balanceMetrics(loads, gpus),
  };
}
