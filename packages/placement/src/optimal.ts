import { partitionGroups } from './group-partition.js';
import { MinMaxReplica } from './min-max-replica.js';
import type { Sizes } from './operands.js';
import { PairedCounts } from './paired-counts.js';
import { rankLayer } from './plan.js';
import { Pool } from './pool.js';
import { PoolSearch } from './pool-search.js';
import type { Deployment, Load, Plan } from './types.js';

/** How close to its bound a pool is searched; closer gains less than the next minute's drift. */
const TOLERANCE = 2e-4;

export function optimal(load: Load, deployment: Deployment, sizes: Sizes): Plan {
  const { layers, experts, replicas } = sizes;
  const plan: Plan = {
    physicalToLogical: new Int32Array(layers * replicas),
    replicaRank: new Int32Array(layers * replicas),
    logicalCount: new Int32Array(layers * experts),
    deployment,
    layers,
  };
  const planner = new LayerPlanner(sizes);
  for (let layer = 0; layer < layers; layer++) {
    planner.plan(load.counts, layer * experts, plan.physicalToLogical, layer * replicas);
    rankLayer(plan, layer, experts);
  }
  return plan;
}

/** Plans layers one by one with reused memory. */
export class LayerPlanner {
  readonly #sizes: Sizes;
  readonly #nodes: number;
  readonly #groups: number;
  readonly #weights: Float64Array;
  readonly #members: Float64Array;
  readonly #minMax: MinMaxReplica;
  readonly #solver: PoolSolver;
  readonly #nodeExperts: Int32Array;
  readonly #slots: Int32Array;
  readonly #bestSlots: Int32Array;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#nodes = sizes.hierarchical ? sizes.nodes : 1;
    this.#groups = sizes.hierarchical ? sizes.groups : 1;
    this.#weights = new Float64Array(sizes.experts);
    this.#members = new Float64Array(sizes.experts);
    this.#minMax = new MinMaxReplica(sizes.experts);
    this.#solver = new PoolSolver(sizes.experts / this.#nodes, sizes.gpus / this.#nodes, sizes.slotsPerGpu);
    this.#nodeExperts = new Int32Array(sizes.experts / this.#nodes);
    this.#slots = new Int32Array(sizes.replicas);
    this.#bestSlots = new Int32Array(sizes.replicas);
  }

  plan(counts: ArrayLike<number>, offset: number, out: Int32Array, outOffset: number): void {
    const { experts, replicas } = this.#sizes;
    let total = 0;
    for (let e = 0; e < experts; e++) {
      this.#weights[e] = counts[offset + e]!;
      total += this.#weights[e]!;
    }
    // Without any load every expert is as likely as the next.
    if (total === 0) this.#weights.fill(1);
    const groupSize = experts / this.#groups;
    const groupLoads = new Float64Array(this.#groups);
    for (let e = 0; e < experts; e++) groupLoads[Math.floor(e / groupSize)]! += this.#weights[e]!;
    const partitions = partitionGroups(
      this.#groups,
      this.#nodes,
      groupLoads,
      (set) => this.#nodeBound(set),
      6,
    );
    let best = Number.POSITIVE_INFINITY;
    for (const partition of partitions) {
      const worst = this.#solve(partition, best);
      if (worst < best) {
        best = worst;
        this.#bestSlots.set(this.#slots);
      }
      if (worst <= this.#bound(partition) * (1 + TOLERANCE)) break;
    }
    for (let s = 0; s < replicas; s++) out[outOffset + s] = this.#bestSlots[s]!;
  }

  #bound(partition: Int32Array): number {
    let bound = 0;
    for (let node = 0; node < this.#nodes; node++) {
      const set: number[] = [];
      for (let g = 0; g < this.#groups; g++) if (partition[g] === node) set.push(g);
      bound = Math.max(bound, this.#nodeBound(set));
    }
    return bound;
  }

  #nodeBound(set: readonly number[]): number {
    const { experts, replicas, gpus } = this.#sizes;
    const groupSize = experts / this.#groups;
    let n = 0;
    let total = 0;
    for (const g of set) {
      for (let e = g * groupSize; e < (g + 1) * groupSize; e++) {
        this.#members[n++] = this.#weights[e]!;
        total += this.#weights[e]!;
      }
    }
    const mean = total / (gpus / this.#nodes);
    return Math.max(mean, this.#minMax.of(this.#members, n, replicas / this.#nodes));
  }

  /** Solves the nodes of a partition, the costliest first; stops when one cannot get below `limit`. */
  #solve(partition: Int32Array, limit: number): number {
    const { experts, replicas } = this.#sizes;
    const groupSize = experts / this.#groups;
    const slotsPerNode = replicas / this.#nodes;
    const nodes: { node: number; bound: number; set: number[] }[] = [];
    for (let node = 0; node < this.#nodes; node++) {
      const set: number[] = [];
      for (let g = 0; g < this.#groups; g++) if (partition[g] === node) set.push(g);
      nodes.push({ node, bound: this.#nodeBound(set), set });
    }
    nodes.sort((a, b) => b.bound - a.bound || a.node - b.node);
    let worst = nodes[0]!.bound;
    for (const { node, bound, set } of nodes) {
      let n = 0;
      for (const g of set) {
        for (let e = g * groupSize; e < (g + 1) * groupSize; e++) this.#nodeExperts[n++] = e;
      }
      const pool = this.#solver.pool;
      for (let i = 0; i < n; i++) pool.weights[i] = this.#weights[this.#nodeExperts[i]!]!;
      const reached = this.#solver.solve(bound, Math.max(worst, bound * (1 + TOLERANCE)));
      worst = Math.max(worst, reached);
      if (worst >= limit) return worst;
      for (let s = 0; s < slotsPerNode; s++) {
        this.#slots[node * slotsPerNode + s] = this.#nodeExperts[pool.slots[s]!]!;
      }
    }
    return worst;
  }
}

/** Solves pools of one shape. */
export class PoolSolver {
  readonly pool: Pool;
  readonly #search: PoolSearch;
  readonly #paired: PairedCounts | undefined;

  constructor(experts: number, gpus: number, slotsPerGpu: number) {
    this.pool = new Pool(experts, gpus, slotsPerGpu);
    this.#search = new PoolSearch(this.pool);
    this.#paired = slotsPerGpu === 2 ? new PairedCounts(this.pool) : undefined;
  }

  /** Plans for the pool's weights; `target` is good enough, `bound` cannot be undercut. */
  solve(bound: number, target: number): number {
    this.pool.replicate();
    if (this.#paired !== undefined) return this.#paired.solve(Math.max(bound, target));
    this.pool.pack();
    return this.#search.improve(target, true);
  }
}
