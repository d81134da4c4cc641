import { exactOptimum } from './exact-optimum.js';
import { MinMaxReplica } from './min-max-replica.js';
import { pairedBound } from './paired-bound.js';

/** Up to this many replicas the optimum itself is searched for. */
const EXACT_REPLICAS = 14;

/**
 * Lower bounds on the highest GPU load of a pool (experts with loads; GPUs of equally many slots; every expert at
 * least once; even split). Proofs:
 *
 * - mean: the loads of the GPUs sum to the total.
 * - replica: some replica is at least as large as the smallest possible largest one.
 * - companions: a GPU holding a replica above half the maximum holds no other such, so its other S - 1 slots hold replicas of
 *   the rest; the sizes of the k largest replicas and of the k (S - 1) smallest must fit into k GPUs.
 * - pairs (S = 2): see {@link pairedBound}.
 * - optimum: pools of at most 14 replicas are searched through.
 */
export class PoolBound {
  readonly #minMax: MinMaxReplica;
  readonly #sorted: Float64Array;

  constructor(experts: number) {
    this.#minMax = new MinMaxReplica(experts);
    this.#sorted = new Float64Array(experts);
  }

  /** Over the first `n` weights. */
  of(weights: Float64Array, n: number, gpus: number, slotsPerGpu: number): number {
    let total = 0;
    for (let i = 0; i < n; i++) total += weights[i]!;
    if (total === 0) return 0;
    const replicas = gpus * slotsPerGpu;
    let bound = Math.max(total / gpus, this.#minMax.of(weights, n, replicas));
    if (slotsPerGpu === 1) return bound;
    const sorted = this.#sorted.subarray(0, n);
    sorted.set(weights.subarray(0, n));
    sorted.sort().reverse();
    if (replicas === n) bound = Math.max(bound, companions(sorted, gpus, slotsPerGpu, bound));
    if (slotsPerGpu === 2) bound = pairedBound(sorted, replicas, bound);
    if (replicas <= EXACT_REPLICAS) bound = exactOptimum(sorted, gpus, slotsPerGpu, bound) ?? bound;
    // Sums of another order may differ in the last bits; a bound must not exceed a plan that meets it.
    return bound * (1 - 1e-13);
  }
}

/** Without redundancy sizes are the weights: the k largest, if above half the bound found, need a GPU each. */
function companions(sorted: Float64Array, gpus: number, slotsPerGpu: number, bound: number): number {
  let large = 0;
  let small = 0;
  const n = sorted.length;
  for (let k = 1; k <= gpus; k++) {
    large += sorted[k - 1]!;
    for (let i = 0; i < slotsPerGpu - 1; i++) small += sorted[n - 1 - (k - 1) * (slotsPerGpu - 1) - i]!;
    // Either two of the k share a GPU, which then holds at least the two smallest of them, or each has its own.
    const shared = k > 1 ? sorted[k - 1]! + sorted[k - 2]! : Number.POSITIVE_INFINITY;
    bound = Math.max(bound, Math.min(shared, (large + small) / k));
  }
  return bound;
}
