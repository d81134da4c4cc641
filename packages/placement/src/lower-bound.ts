import { partitionGroups } from './group-partition.js';
import { checkDeployment, checkLoad, type Sizes } from './operands.js';
import { PoolBound } from './pool-bound.js';
import type { Deployment, Load } from './types.js';

/** Assignments of groups to nodes that are told apart. */
const RANKED = 400;

/**
 * A proven lower bound on the highest GPU load of each layer, [layers], for every plan with an even split over replicas.
 *
 * Where the deployment's groups divide over its nodes (EPLB's rule) the bound is on group-local plans: whole groups on
 * nodes, equally many on each. Otherwise, and with `groups` left out or 1, it is on any plan.
 */
export function lowerBound(load: Load, deployment: Deployment): Float64Array {
  checkLoad(load);
  const sizes = checkDeployment(load.layers, load.experts, deployment);
  const bounds = new Float64Array(load.layers);
  const layerBound = new LayerBound(sizes);
  for (let layer = 0; layer < load.layers; layer++) {
    bounds[layer] = layerBound.of(load.counts, layer * load.experts);
  }
  return bounds;
}

/** Bounds single layers with reused memory. */
export class LayerBound {
  readonly #sizes: Sizes;
  readonly #weights: Float64Array;
  readonly #members: Float64Array;
  readonly #pool: PoolBound;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#weights = new Float64Array(sizes.experts);
    this.#members = new Float64Array(sizes.experts);
    this.#pool = new PoolBound(sizes.experts);
  }

  /** Over `counts` [experts] from `offset`. */
  of(counts: ArrayLike<number>, offset: number): number {
    const { experts, hierarchical, nodes, gpus, slotsPerGpu } = this.#sizes;
    for (let e = 0; e < experts; e++) this.#weights[e] = counts[offset + e]!;
    // A group-local plan is a plan, so a bound on all plans holds for it too.
    if (hierarchical && nodes > 1) {
      const grouped = this.#grouped();
      if (grouped !== undefined) return grouped;
    }
    return this.#pool.of(this.#weights, experts, gpus, slotsPerGpu);
  }

  /** The least bound of any assignment of groups to nodes, undefined when it could not be proven. */
  #grouped(): number | undefined {
    const { experts, groups, nodes, slotsPerGpu } = this.#sizes;
    const loads = new Float64Array(groups);
    for (let e = 0; e < experts; e++) loads[Math.floor((e * groups) / experts)]! += this.#weights[e]!;
    if (slotsPerGpu === 2) {
      const ranked = this.#ranked(loads);
      if (ranked !== undefined) return ranked;
    }
    const { cost, othersCost } = partitionGroups(
      groups,
      nodes,
      loads,
      (set) => this.#nodeBound(set, false),
      1,
    );
    return othersCost === undefined ? undefined : cost;
  }

  /**
   * The same where the best bound takes long: assignments are ranked by a quick bound, and the best one is worked out
   * only for those that could still be the least. Undefined when that may miss some.
   */
  #ranked(loads: Float64Array): number | undefined {
    const { groups, nodes } = this.#sizes;
    const quick = (set: readonly number[]): number => this.#nodeBound(set, true);
    const { partitions, othersCost } = partitionGroups(groups, nodes, loads, quick, RANKED);
    if (othersCost === undefined) return undefined;
    const known = new Map<string, number>();
    let least = othersCost;
    for (const partition of partitions) {
      const sets = Array.from({ length: nodes }, (_, node) =>
        [...partition.keys()].filter((group) => partition[group] === node),
      );
      if (Math.max(...sets.map(quick)) >= least) break;
      let bound = 0;
      for (const set of sets) {
        if (bound >= least) break;
        const key = set.join();
        const value = known.get(key) ?? this.#nodeBound(set, false);
        known.set(key, value);
        bound = Math.max(bound, value);
      }
      least = Math.min(least, bound);
    }
    return least < othersCost ? least : undefined;
  }

  #nodeBound(set: readonly number[], isQuick: boolean): number {
    const { experts, groups, gpusPerNode, slotsPerGpu } = this.#sizes;
    const groupSize = experts / groups;
    let n = 0;
    for (const g of set) {
      for (let e = g * groupSize; e < (g + 1) * groupSize; e++) this.#members[n++] = this.#weights[e]!;
    }
    return isQuick
      ? this.#pool.quick(this.#members, n, gpusPerNode, slotsPerGpu)
      : this.#pool.of(this.#members, n, gpusPerNode, slotsPerGpu);
  }
}
