import { partitionGroups } from './group-partition.js';
import { MinMaxReplica } from './min-max-replica.js';
import type { Sizes } from './operands.js';
import { PoolSolver } from './pool-solver.js';

/** How close to its bound a pool is searched; closer gains less than the next minute's drift. */
const TOLERANCE = 2e-4;
/** Assignments of groups to nodes that are tried when the best one misses its bound. */
const PARTITIONS = 6;

/** Plans single layers with reused memory: whole groups on nodes, or all experts anywhere. */
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
  readonly #counts: Int32Array;

  /** @param grouped - keep every group whole on one node; only where the groups divide over the nodes. */
  constructor(sizes: Sizes, grouped: boolean) {
    this.#sizes = sizes;
    this.#nodes = grouped ? sizes.nodes : 1;
    this.#groups = grouped ? sizes.groups : 1;
    this.#weights = new Float64Array(sizes.experts);
    this.#members = new Float64Array(sizes.experts);
    this.#minMax = new MinMaxReplica(sizes.experts);
    this.#solver = new PoolSolver(sizes.experts / this.#nodes, sizes.gpus / this.#nodes, sizes.slotsPerGpu);
    this.#nodeExperts = new Int32Array(sizes.experts / this.#nodes);
    this.#slots = new Int32Array(sizes.replicas);
    this.#counts = new Int32Array(sizes.experts);
  }

  /**
   * Plans the layer whose loads begin at `offset` and writes it to `out` from `outOffset` on.
   *
   * @param reference - an EPLB plan of the layer at the same offset; the result is never worse.
   */
  plan(
    counts: ArrayLike<number>,
    offset: number,
    out: Int32Array,
    outOffset: number,
    reference: Int32Array,
  ): void {
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
      PARTITIONS,
    );
    let best = Number.POSITIVE_INFINITY;
    for (const partition of partitions) {
      const worst = this.#solve(partition, best);
      if (worst < best) {
        best = worst;
        for (let s = 0; s < replicas; s++) out[outOffset + s] = this.#slots[s]!;
      }
      if (worst <= this.#bound(partition) * (1 + TOLERANCE)) break;
    }
    const limit = this.#maxLoad(reference, outOffset);
    if (this.#maxLoad(out, outOffset) > limit) this.#improveReference(reference, out, outOffset);
  }

  /** The highest GPU load, summed in slot order as everyone does who checks it. */
  #maxLoad(slots: Int32Array, offset: number): number {
    const { replicas, slotsPerGpu } = this.#sizes;
    this.#counts.fill(0);
    for (let s = 0; s < replicas; s++) this.#counts[slots[offset + s]!]!++;
    let max = 0;
    for (let s = 0; s < replicas; s += slotsPerGpu) {
      let sum = 0;
      for (let i = 0; i < slotsPerGpu; i++) {
        const e = slots[offset + s + i]!;
        sum += this.#weights[e]! / this.#counts[e]!;
      }
      if (sum > max) max = sum;
    }
    return max;
  }

  #improveReference(reference: Int32Array, out: Int32Array, offset: number): void {
    const { experts, replicas } = this.#sizes;
    const pool = this.#solver.pool;
    const slotsPerNode = replicas / this.#nodes;
    const local = new Int32Array(experts);
    for (let node = 0; node < this.#nodes; node++) {
      local.fill(-1);
      let n = 0;
      const first = offset + node * slotsPerNode;
      for (let s = 0; s < slotsPerNode; s++) {
        const e = reference[first + s]!;
        if (local[e] === -1) {
          local[e] = n;
          this.#nodeExperts[n] = e;
          pool.weights[n] = this.#weights[e]!;
          pool.counts[n++] = 0;
        }
        pool.slots[s] = local[e]!;
        pool.counts[local[e]!]!++;
      }
      for (let i = 0; i < n; i++) pool.setCount(i, pool.counts[i]!);
      pool.sumLoads();
      this.#solver.improve(0);
      for (let s = 0; s < slotsPerNode; s++) out[first + s] = this.#nodeExperts[pool.slots[s]!]!;
    }
  }

  #nodeSet(partition: Int32Array, node: number): number[] {
    const set: number[] = [];
    for (let g = 0; g < this.#groups; g++) if (partition[g] === node) set.push(g);
    return set;
  }

  #bound(partition: Int32Array): number {
    let bound = 0;
    for (let node = 0; node < this.#nodes; node++) {
      bound = Math.max(bound, this.#nodeBound(this.#nodeSet(partition, node)));
    }
    return bound;
  }

  /** Mean and smallest possible largest replica of a node that holds these groups. */
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
    const nodes = Array.from({ length: this.#nodes }, (_, node) => {
      const set = this.#nodeSet(partition, node);
      return { node, set, bound: this.#nodeBound(set) };
    }).sort((a, b) => b.bound - a.bound || a.node - b.node);
    const pool = this.#solver.pool;
    let worst = nodes[0]!.bound;
    for (const { node, bound, set } of nodes) {
      let n = 0;
      for (const g of set) {
        for (let e = g * groupSize; e < (g + 1) * groupSize; e++) this.#nodeExperts[n++] = e;
      }
      for (let i = 0; i < n; i++) pool.weights[i] = this.#weights[this.#nodeExperts[i]!]!;
      worst = Math.max(worst, this.#solver.solve(Math.max(worst, bound * (1 + TOLERANCE))));
      if (worst >= limit) return worst;
      for (let s = 0; s < slotsPerNode; s++) {
        this.#slots[node * slotsPerNode + s] = this.#nodeExperts[pool.slots[s]!]!;
      }
    }
    return worst;
  }
}
