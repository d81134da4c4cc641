import { badConfig, type Sizes } from './operands.js';

/** Beyond this many sets of groups a token's groups are taken as independent. */
const MAX_SETS = 5_000;

/** How the model routes, as far as it decides which nodes a token meets. */
export interface RoutingShape {
  /** Experts a token selects; default 8. */
  topK?: number;
  /** Groups they come from, of the deployment's groups; default half of them, rounded up. */
  topKGroups?: number;
}

/**
 * Expected number of nodes, other than its own, that a token is copied to. Model: the token draws `topKGroups` groups
 * with odds of their load, then `topK` experts of these by load, each on one of its replicas evenly; its own node is
 * any node. Exact counts need the selections themselves.
 */
export class NodeCopies {
  readonly #sizes: Sizes;
  readonly #groups: number;
  readonly #topK: number;
  readonly #sets: Int32Array[];
  /** [groups, nodes]: load of a group on a node. */
  readonly #shares: Float64Array;
  readonly #groupLoads: Float64Array;
  readonly #counts: Int32Array;

  constructor(sizes: Sizes, shape: RoutingShape = {}) {
    const grouped = sizes.experts % sizes.groups === 0;
    this.#sizes = sizes;
    this.#groups = grouped ? sizes.groups : 1;
    const { topK = 8, topKGroups = Math.ceil(this.#groups / 2) } = shape;
    if (!Number.isSafeInteger(topK) || topK < 1) {
      throw badConfig(`expected a positive topK, got ${topK}`, topK, 'pass the experts per token');
    }
    if (!Number.isSafeInteger(topKGroups) || topKGroups < 1 || topKGroups > this.#groups) {
      throw badConfig(
        `expected topKGroups of 1 .. ${this.#groups}, got ${topKGroups}`,
        topKGroups,
        'pass the groups a token selects from',
      );
    }
    this.#topK = topK;
    this.#sets = groupSets(this.#groups, topKGroups);
    this.#shares = new Float64Array(this.#groups * sizes.nodes);
    this.#groupLoads = new Float64Array(this.#groups);
    this.#counts = new Int32Array(sizes.experts);
  }

  /** The expectation for one layer: `weights` [experts] from `offset`, `slots` [replicas] from `slotsOffset`. */
  of(weights: ArrayLike<number>, offset: number, slots: Int32Array, slotsOffset: number): number {
    const { nodes } = this.#sizes;
    if (nodes === 1) return 0;
    this.#share(weights, offset, slots, slotsOffset);
    let expected = 0;
    let odds = 0;
    for (const set of this.#sets) {
      let total = 0;
      let weight = 1;
      for (const g of set) {
        total += this.#groupLoads[g]!;
        weight *= this.#groupLoads[g]!;
      }
      if (weight === 0) continue;
      let touched = 0;
      for (let node = 0; node < nodes; node++) {
        let q = 0;
        for (const g of set) q += this.#shares[g * nodes + node]!;
        touched += 1 - (1 - Math.min(1, q / total)) ** this.#topK;
      }
      expected += weight * touched;
      odds += weight;
    }
    return odds === 0 ? 0 : ((expected / odds) * (nodes - 1)) / nodes;
  }

  #share(weights: ArrayLike<number>, offset: number, slots: Int32Array, slotsOffset: number): void {
    const { experts, nodes, replicas } = this.#sizes;
    const groupSize = experts / this.#groups;
    const slotsPerNode = replicas / nodes;
    this.#shares.fill(0);
    this.#groupLoads.fill(0);
    this.#counts.fill(0);
    let total = 0;
    for (let e = 0; e < experts; e++) total += weights[offset + e]!;
    for (let s = 0; s < replicas; s++) this.#counts[slots[slotsOffset + s]!]!++;
    for (let s = 0; s < replicas; s++) {
      const e = slots[slotsOffset + s]!;
      // Shares of the mean group load keep the products of a set within range; a little load keeps every group drawable.
      const weight = total > 0 ? (weights[offset + e]! / total) * this.#groups + 1e-9 : 1 / groupSize;
      const share = weight / this.#counts[e]!;
      const group = Math.floor(e / groupSize);
      this.#shares[group * nodes + Math.floor(s / slotsPerNode)]! += share;
      this.#groupLoads[group]! += share;
    }
  }
}

/** All sets of `size` groups, or one set of all groups when they are too many to walk through. */
function groupSets(groups: number, size: number): Int32Array[] {
  let ways = 1;
  for (let i = 0; i < size; i++) ways *= (groups - i) / (i + 1);
  if (ways > MAX_SETS) return [Int32Array.from({ length: groups }, (_, g) => g)];
  const sets: Int32Array[] = [];
  const set = Int32Array.from({ length: size }, (_, i) => i);
  for (;;) {
    sets.push(set.slice());
    let i = size - 1;
    while (i >= 0 && set[i] === groups - size + i) i--;
    if (i < 0) return sets;
    set[i]!++;
    for (let j = i + 1; j < size; j++) set[j] = set[j - 1]! + 1;
  }
}
