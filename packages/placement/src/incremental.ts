import { NodeCopies } from './locality.js';
import type { Sizes } from './operands.js';
import { rankLayer } from './plan.js';
import { Pool } from './pool.js';
import { type AdjustLimits, PoolAdjuster } from './pool-adjuster.js';
import type { Deployment, Load, Plan } from './types.js';

/**
 * When a move pays, by deployment. The potential of a pool is the sum over GPUs of the squared excess above the
 * tolerated load, in units of the mean. With few slots a GPU the lower bound on the maximum lies well above the mean, and noise of
 * single experts reaches GPUs undamped, so less is worth chasing.
 */
export function adjustLimits(sizes: Sizes): AdjustLimits {
  if (sizes.slotsPerGpu <= 2) return { tolerance: 0.04, worth: 7e-4, receives: 2 };
  return { tolerance: 0, worth: 4e-4, receives: 3 };
}

/** Improves layers by few moves, with reused memory. */
export class IncrementalPlanner {
  readonly #sizes: Sizes;
  readonly #pool: Pool;
  readonly #free: PoolAdjuster;
  readonly #local: PoolAdjuster;
  readonly #copies: NodeCopies;
  readonly #limits: AdjustLimits;

  constructor(sizes: Sizes, limits: AdjustLimits = adjustLimits(sizes)) {
    this.#sizes = sizes;
    this.#limits = limits;
    this.#pool = new Pool(sizes.experts, sizes.gpus, sizes.slotsPerGpu);
    this.#free = new PoolAdjuster(this.#pool, sizes.gpus);
    this.#local = new PoolAdjuster(this.#pool, sizes.gpusPerNode);
    this.#copies = new NodeCopies(sizes);
  }

  /**
   * Adjusts one layer in place; returns whether anything moved.
   *
   * @param weights - [experts] from `offset`.
   * @param slots - [replicas] from `at`.
   * @param localityBudget - as in `rebalance`; 0 keeps every expert on its nodes.
   */
  adjust(
    weights: ArrayLike<number>,
    offset: number,
    slots: Int32Array,
    at: number,
    localityBudget: number,
  ): boolean {
    if (localityBudget === 0) return this.#run(this.#local, weights, offset, slots, at);
    if (localityBudget === Number.POSITIVE_INFINITY) return this.#run(this.#free, weights, offset, slots, at);
    const { replicas } = this.#sizes;
    const before = slots.slice(at, at + replicas);
    const limit = this.#copies.of(weights, offset, before, 0) * (1 + localityBudget);
    const moved = this.#run(this.#free, weights, offset, slots, at);
    if (!moved || this.#copies.of(weights, offset, slots, at) <= limit) return moved;
    slots.set(before, at);
    return this.#run(this.#local, weights, offset, slots, at);
  }

  #run(
    adjuster: PoolAdjuster,
    weights: ArrayLike<number>,
    offset: number,
    slots: Int32Array,
    at: number,
  ): boolean {
    const pool = this.#pool;
    pool.counts.fill(0);
    for (let s = 0; s < pool.replicas; s++) {
      const e = slots[at + s]!;
      pool.slots[s] = e;
      pool.counts[e]!++;
    }
    for (let e = 0; e < pool.experts; e++) {
      pool.weights[e] = weights[offset + e]!;
      pool.setCount(e, pool.counts[e]!);
    }
    pool.sumLoads();
    if (adjuster.adjust(this.#limits) === 0) return false;
    for (let s = 0; s < pool.replicas; s++) slots[at + s] = pool.slots[s]!;
    return true;
  }
}

/** The previous plan with the moves that pay for themselves under `load`. */
export function incremental(
  load: Load,
  deployment: Deployment,
  sizes: Sizes,
  previous: Plan,
  localityBudget: number,
): Plan {
  const { layers, experts, replicas } = sizes;
  const plan: Plan = {
    physicalToLogical: previous.physicalToLogical.slice(),
    replicaRank: previous.replicaRank.slice(),
    logicalCount: previous.logicalCount.slice(),
    deployment,
    layers,
  };
  const planner = new IncrementalPlanner(sizes);
  for (let layer = 0; layer < layers; layer++) {
    const at = layer * replicas;
    if (planner.adjust(load.counts, layer * experts, plan.physicalToLogical, at, localityBudget)) {
      rankLayer(plan, layer, experts);
    }
  }
  return plan;
}
