import { countPartitions, MAX_PARTITIONS, partitionGroups } from './group-partition.js';
import { checkDeployment, checkLoad, type Sizes } from './operands.js';
import { PoolBound } from './pool-bound.js';
import type { Deployment, Load } from './types.js';

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

  /** The least cost of any assignment of groups to nodes; undefined when there are too many. */
  #grouped(): number | undefined {
    const { groups, nodes } = this.#sizes;
    if (countPartitions(groups, nodes) > MAX_PARTITIONS) return undefined;
    const cost = (set: readonly number[]): number => this.#nodeBound(set);
    const [partition] = partitionGroups(groups, nodes, new Float64Array(groups), cost, 1);
    let bound = 0;
    for (let node = 0; node < nodes; node++) {
      const set: number[] = [];
      for (let g = 0; g < groups; g++) if (partition![g] === node) set.push(g);
      bound = Math.max(bound, cost(set));
    }
    return bound;
  }

  #nodeBound(set: readonly number[]): number {
    const { experts, groups, gpusPerNode, slotsPerGpu } = this.#sizes;
    const groupSize = experts / groups;
    let n = 0;
    for (const g of set) {
      for (let e = g * groupSize; e < (g + 1) * groupSize; e++) this.#members[n++] = this.#weights[e]!;
    }
    return this.#pool.of(this.#members, n, gpusPerNode, slotsPerGpu);
  }
}
