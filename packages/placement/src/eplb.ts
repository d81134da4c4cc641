import type { Sizes } from './operands.js';
import { stableSortDescending, torchSortDescending } from './torch-sort.js';
import type { Deployment, Load, Plan, Ties } from './types.js';

/**
 * DeepSeek's EPLB, reproduced to the slot: pack expert groups to nodes, replicate the experts with the highest load
 * per replica inside each node, pack the replicas to GPUs; without nodes where the groups do not divide over them.
 * All arithmetic is float32, and the first index wins among equals.
 */
export function eplb(load: Load, deployment: Deployment, sizes: Sizes, ties: Ties): Plan {
  const { layers, experts, replicas } = sizes;
  const plan = {
    physicalToLogical: new Int32Array(layers * replicas),
    replicaRank: new Int32Array(layers * replicas),
    logicalCount: new Int32Array(layers * experts),
    deployment,
    layers,
  };
  const planner = new EplbPlanner(sizes, ties);
  for (let layer = 0; layer < layers; layer++) {
    planner.planLayer(load.counts, layer * experts, plan, layer);
  }
  return plan;
}

class EplbPlanner {
  readonly #experts: number;
  readonly #nodes: number;
  readonly #groups: number;
  readonly #gpusPerNode: number;
  readonly #slots: number;
  readonly #replicas: number;
  readonly #torch: boolean;
  readonly #weights: Float32Array;
  readonly #groupWeights: Float32Array;
  readonly #lanes: Float32Array = new Float32Array(8);
  readonly #groupNode: Int32Array;
  readonly #groupRank: Int32Array;
  readonly #nodeExperts: Int32Array;
  readonly #ratios: Float32Array;
  readonly #counts: Int32Array;
  readonly #phyExpert: Int32Array;
  readonly #phyRank: Int32Array;
  readonly #phyWeights: Float32Array;
  readonly #pack: Int32Array;
  readonly #rankInPack: Int32Array;
  readonly #keys: Float32Array;
  readonly #order: Int32Array;
  readonly #packWeights: Float32Array;
  readonly #packItems: Int32Array;

  constructor(sizes: Sizes, ties: Ties) {
    const { experts, hierarchical, gpus, replicas } = sizes;
    this.#experts = experts;
    this.#nodes = hierarchical ? sizes.nodes : 1;
    this.#groups = hierarchical ? sizes.groups : 1;
    this.#gpusPerNode = gpus / this.#nodes;
    this.#slots = sizes.slotsPerGpu;
    this.#replicas = replicas;
    this.#torch = ties === 'torch';
    const most = Math.max(replicas, this.#groups);
    this.#weights = new Float32Array(experts);
    this.#groupWeights = new Float32Array(this.#groups);
    this.#groupNode = new Int32Array(this.#groups);
    this.#groupRank = new Int32Array(this.#groups);
    this.#nodeExperts = new Int32Array(experts);
    this.#ratios = new Float32Array(experts);
    this.#counts = new Int32Array(experts);
    this.#phyExpert = new Int32Array(replicas);
    this.#phyRank = new Int32Array(replicas);
    this.#phyWeights = new Float32Array(replicas);
    this.#pack = new Int32Array(replicas);
    this.#rankInPack = new Int32Array(replicas);
    this.#keys = new Float32Array(most);
    this.#order = new Int32Array(most);
    this.#packWeights = new Float32Array(Math.max(gpus, this.#nodes));
    this.#packItems = new Int32Array(Math.max(gpus, this.#nodes));
  }

  planLayer(counts: Load['counts'], offset: number, plan: Plan, layer: number): void {
    const weights = this.#weights;
    for (let expert = 0; expert < this.#experts; expert++) weights[expert] = counts[offset + expert]!;
    this.#assignGroups();
    for (let node = 0; node < this.#nodes; node++) this.#planNode(node, plan, layer);
  }

  #assignGroups(): void {
    const groupSize = this.#experts / this.#groups;
    for (let group = 0; group < this.#groups; group++) {
      this.#groupWeights[group] = this.#sum(group * groupSize, groupSize);
    }
    this.#packBalanced(this.#groupWeights, this.#groups, this.#nodes, this.#groupNode, this.#groupRank);
    const perNode = this.#groups / this.#nodes;
    for (let group = 0; group < this.#groups; group++) {
      const start = (this.#groupNode[group]! * perNode + this.#groupRank[group]!) * groupSize;
      for (let i = 0; i < groupSize; i++) this.#nodeExperts[start + i] = group * groupSize + i;
    }
  }

  /** Sum in the order of PyTorch's vectorised inner reduction: eight lanes, four vectors in flight, the rest last. */
  #sum(start: number, n: number): number {
    const weights = this.#weights;
    const lanes = this.#lanes;
    const vectors = n >> 3;
    const quads = vectors >> 2;
    const partial = Math.fround;
    for (let lane = 0; lane < 8; lane++) {
      let total = 0;
      for (let k = 0; k < 4 && quads > 0; k++) {
        let chain = 0;
        for (let q = 0; q < quads; q++) chain = partial(chain + weights[start + (q * 4 + k) * 8 + lane]!);
        if (k === 0) {
          for (let v = quads * 4; v < vectors; v++) chain = partial(chain + weights[start + v * 8 + lane]!);
        }
        total = partial(total + chain);
      }
      if (quads === 0) {
        for (let v = 0; v < vectors; v++) total = partial(total + weights[start + v * 8 + lane]!);
      }
      lanes[lane] = total;
    }
    let sum = 0;
    for (let i = vectors * 8; i < n; i++) sum = partial(sum + weights[start + i]!);
    for (let lane = 0; lane < 8 && vectors > 0; lane++) sum = partial(sum + lanes[lane]!);
    return sum;
  }

  #planNode(node: number, plan: Plan, layer: number): void {
    const perNode = this.#experts / this.#nodes;
    const slots = this.#replicas / this.#nodes;
    const first = node * perNode;
    const { physicalToLogical, replicaRank, logicalCount } = plan;
    this.#replicate(first, perNode, slots);
    for (let i = 0; i < slots; i++) {
      const local = this.#phyExpert[i]!;
      this.#phyWeights[i] = this.#weights[this.#nodeExperts[first + local]!]! / this.#counts[local]!;
    }
    this.#packBalanced(this.#phyWeights, slots, this.#gpusPerNode, this.#pack, this.#rankInPack);
    const base = layer * this.#replicas + node * slots;
    for (let i = 0; i < slots; i++) {
      const slot = base + this.#pack[i]! * this.#slots + this.#rankInPack[i]!;
      physicalToLogical[slot] = this.#nodeExperts[first + this.#phyExpert[i]!]!;
      replicaRank[slot] = this.#phyRank[i]!;
    }
    for (let i = 0; i < perNode; i++) {
      logicalCount[layer * this.#experts + this.#nodeExperts[first + i]!] = this.#counts[i]!;
    }
  }

  #replicate(first: number, experts: number, slots: number): void {
    const ratios = this.#ratios;
    const counts = this.#counts;
    for (let i = 0; i < experts; i++) {
      this.#phyExpert[i] = i;
      this.#phyRank[i] = 0;
      counts[i] = 1;
      ratios[i] = this.#weights[this.#nodeExperts[first + i]!]!;
    }
    for (let slot = experts; slot < slots; slot++) {
      let best = 0;
      let highest = ratios[0]!;
      for (let i = 1; i < experts; i++) {
        if (ratios[i]! > highest) {
          highest = ratios[i]!;
          best = i;
        }
      }
      this.#phyExpert[slot] = best;
      this.#phyRank[slot] = counts[best]!;
      counts[best]!++;
      ratios[best] = this.#weights[this.#nodeExperts[first + best]!]! / counts[best]!;
    }
  }

  /** Longest processing time first into packs of exactly n / packs items. */
  #packBalanced(
    weights: Float32Array,
    n: number,
    packs: number,
    pack: Int32Array,
    rankInPack: Int32Array,
  ): void {
    if (n === packs) {
      for (let i = 0; i < n; i++) {
        pack[i] = i;
        rankInPack[i] = 0;
      }
      return;
    }
    const keys = this.#keys;
    const order = this.#order;
    for (let i = 0; i < n; i++) keys[i] = weights[i]!;
    if (this.#torch) torchSortDescending(keys, order, n);
    else stableSortDescending(keys, order, n);
    const capacity = n / packs;
    const totals = this.#packWeights;
    const items = this.#packItems;
    totals.fill(0, 0, packs);
    items.fill(0, 0, packs);
    for (let i = 0; i < n; i++) {
      let best = -1;
      let lowest = Number.POSITIVE_INFINITY;
      for (let p = 0; p < packs; p++) {
        if (totals[p]! < lowest && items[p]! < capacity) {
          lowest = totals[p]!;
          best = p;
        }
      }
      const item = order[i]!;
      pack[item] = best;
      rankInPack[item] = items[best]!;
      totals[best] = totals[best]! + weights[item]!;
      items[best]!++;
    }
  }
}
