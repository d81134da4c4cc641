import { NodeCopies } from './locality.js';
import type { Sizes } from './operands.js';
import { rankLayer } from './plan.js';
import { Pool } from './pool.js';
import { type AdjustLimits, PoolAdjuster } from './pool-adjuster.js';
import type { Deployment, Load, Plan } from './types.js';

/** Least gain of a move with many slots a GPU, times their number; and with few. */
const WORTH_TIMES_SLOTS = 3e-3;
const MOST_WORTH = 1e-3;
/** With two slots the best pairing of large and small replicas usually stays this far above the mean. */
const PAIRING_TOLERANCE = 0.03;
/** Weights that a GPU may receive for a layer in one plan; keeps the longest stall of 58 layers near 150 ms. */
const MOST_RECEIVES = 3;

/**
 * When a move pays, by deployment. The gain of a move is the fall of the sum over GPUs of the squared excess load, in units of the
 * squared mean, for each replica moved. The noise of a GPU's load, whose chase gains nothing, has a variance that falls with its
 * number of slots, and so does the least gain.
 */
export function adjustLimits(sizes: Sizes): AdjustLimits {
  const { slotsPerGpu } = sizes;
  return {
    tolerance: slotsPerGpu === 2 ? PAIRING_TOLERANCE : 0,
    worth: Math.min(MOST_WORTH, WORTH_TIMES_SLOTS / slotsPerGpu),
    receives: Math.min(slotsPerGpu, MOST_RECEIVES),
  };
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
