import type { Sizes } from './operands.js';
import { PoolSolver } from './pool-solver.js';

/**
 * Group locality where the groups do not divide over the nodes: the groups are laid out one after the other, so each
 * spans the fewest nodes its replicas need and most nodes hold one or two groups. Experts then move among the nodes
 * of their own group only.
 */
export class SpreadPlanner {
  readonly #sizes: Sizes;
  readonly #solver: PoolSolver;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#solver = new PoolSolver(sizes.experts, sizes.gpus, sizes.slotsPerGpu);
  }

  /** Lays out anew the replicas of `slots`, [replicas] from `at`, whose counts it starts from. */
  plan(weights: ArrayLike<number>, offset: number, slots: Int32Array, at: number): void {
    const { experts, replicas, groups, nodes, gpus, gpusPerNode } = this.#sizes;
    const { pool } = this.#solver;
    const groupSize = Math.ceil(experts / groups);
    pool.counts.fill(0);
    let total = 0;
    for (let s = 0; s < replicas; s++) pool.counts[slots[at + s]!]!++;
    for (let e = 0; e < experts; e++) {
      pool.weights[e] = weights[offset + e]!;
      total += pool.weights[e]!;
    }
    if (total === 0) pool.weights.fill(1);
    for (let e = 0; e < experts; e++) pool.setCount(e, pool.counts[e]!);
    const allowed = new Uint8Array(experts * gpus);
    const load = new Float64Array(nodes);
    const used = new Int32Array(nodes);
    const perNode = replicas / nodes;
    let first = 0;
    for (let g = 0; g < groups; g++) {
      const members: number[] = [];
      for (let e = g * groupSize; e < Math.min(experts, (g + 1) * groupSize); e++) {
        for (let c = 0; c < pool.counts[e]!; c++) members.push(e);
      }
      members.sort((a, b) => pool.sizes[b]! - pool.sizes[a]! || a - b);
      const free = new Int32Array(nodes);
      for (let i = first; i < first + members.length; i++) free[Math.floor(i / perNode)]!++;
      for (const e of new Set(members)) {
        for (let gpu = 0; gpu < gpus; gpu++) {
          if (free[Math.floor(gpu / gpusPerNode)]! > 0) allowed[e * gpus + gpu] = 1;
        }
      }
      first += members.length;
      for (const e of members) {
        let best = -1;
        for (let n = 0; n < nodes; n++) {
          // By load per slot used so far: nodes differ in how much they hold of other groups.
          if (free[n]! > 0 && (best < 0 || load[n]! / (used[n]! + 1) < load[best]! / (used[best]! + 1)))
            best = n;
        }
        // Column by column over the GPUs of the node, so that neighbours in size part.
        const index = used[best]!++;
        const gpu = best * gpusPerNode + (index % gpusPerNode);
        pool.slots[gpu * pool.slotsPerGpu + Math.floor(index / gpusPerNode)] = e;
        load[best]! += pool.sizes[e]!;
        free[best]!--;
      }
    }
    pool.allowed = allowed;
    pool.sumLoads();
    this.#solver.improve(pool.total() / gpus, 0);
    for (let s = 0; s < replicas; s++) slots[at + s] = pool.slots[s]!;
  }
}
