import type { Sizes } from './operands.js';
import { Pool } from './pool.js';
import { PoolSolver } from './pool-solver.js';

/**
 * Re-plans a layer inside its nodes, so that no token reaches another set of nodes than before: an expert that lives
 * on one node only may gain and lose replicas there, one that lives on several keeps its replicas on each.
 */
export class NodePreservingPlanner {
  readonly #sizes: Sizes;
  readonly #counts: Int32Array;
  readonly #onNode: Int32Array;
  readonly #nodeExperts: Int32Array;
  readonly #local: Int32Array;
  /** By number of experts on a node, which is the same for all nodes of a group-local plan. */
  readonly #solvers: Map<number, PoolSolver> = new Map();

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#counts = new Int32Array(sizes.experts);
    this.#onNode = new Int32Array(sizes.experts);
    this.#nodeExperts = new Int32Array(sizes.experts);
    this.#local = new Int32Array(sizes.experts);
  }

  /** `weights` [experts] from `offset`; `previous` and `out` [replicas] from `outOffset`. */
  plan(
    weights: ArrayLike<number>,
    offset: number,
    previous: Int32Array,
    out: Int32Array,
    outOffset: number,
  ): void {
    const { replicas, nodes } = this.#sizes;
    this.#counts.fill(0);
    for (let s = 0; s < replicas; s++) this.#counts[previous[outOffset + s]!]!++;
    let total = 0;
    for (let e = 0; e < this.#sizes.experts; e++) total += weights[offset + e]!;
    for (let node = 0; node < nodes; node++) {
      this.#planNode(weights, offset, total === 0, previous, out, outOffset + (node * replicas) / nodes);
    }
  }

  #planNode(
    weights: ArrayLike<number>,
    offset: number,
    empty: boolean,
    previous: Int32Array,
    out: Int32Array,
    first: number,
  ): void {
    const slots = this.#sizes.replicas / this.#sizes.nodes;
    const solver = this.#load(weights, offset, empty, previous, first, slots);
    const { pool } = solver;
    const before = new Pool(pool.experts, pool.gpus, pool.slotsPerGpu);
    for (let s = 0; s < slots; s++) pool.slots[s] = this.#local[previous[first + s]!]!;
    for (let e = 0; e < pool.experts; e++) pool.setCount(e, this.#onNode[this.#nodeExperts[e]!]!);
    pool.sumLoads();
    before.copyFrom(pool);
    const bound = pool.total() / pool.gpus;
    solver.solve(bound * (1 + 2e-4));
    if (before.maxLoad() <= pool.maxLoad()) {
      pool.copyFrom(before);
      solver.improve(0);
    }
    for (let s = 0; s < slots; s++) out[first + s] = this.#nodeExperts[pool.slots[s]!]!;
  }

  #load(
    weights: ArrayLike<number>,
    offset: number,
    empty: boolean,
    previous: Int32Array,
    first: number,
    slots: number,
  ): PoolSolver {
    this.#onNode.fill(0);
    let n = 0;
    for (let s = 0; s < slots; s++) {
      const e = previous[first + s]!;
      if (this.#onNode[e]!++ > 0) continue;
      this.#local[e] = n;
      this.#nodeExperts[n++] = e;
    }
    let solver = this.#solvers.get(n);
    if (solver === undefined) {
      const { gpusPerNode, slotsPerGpu } = this.#sizes;
      solver = new PoolSolver(n, gpusPerNode, slotsPerGpu);
      this.#solvers.set(n, solver);
    }
    const { pool } = solver;
    for (let i = 0; i < n; i++) {
      const e = this.#nodeExperts[i]!;
      const here = this.#onNode[e]!;
      const elsewhere = this.#counts[e]! > here;
      pool.weights[i] = ((empty ? 1 : weights[offset + e]!) * here) / this.#counts[e]!;
      pool.fixed[i] = elsewhere ? 1 : 0;
      pool.minimum[i] = elsewhere ? here : 1;
    }
    return solver;
  }
}
