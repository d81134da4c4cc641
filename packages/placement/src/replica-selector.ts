import { badConfig, badShape, checkPlan } from './operands.js';
import { planExperts } from './plan.js';
import { SeededRandom } from './random.js';
import type { Plan } from './types.js';

/**
 * How a token chooses among the replicas of an expert.
 *
 * - `static`: one fixed replica for each expert and source GPU: on that GPU, else on its node, else one of the rest, spread over sources.
 * - `random`: a seeded draw for every selection.
 * - `roundRobin`: flat position in [tokens, topK] modulo the number of replicas, slots ascending, as vLLM.
 * - `leastLoaded`: the replica whose GPU has received the fewest selections since the last reset.
 * - `localFirst`: in turn among the replicas of the nearest class that has one: same GPU, same node, anywhere.
 */
export type ReplicaPolicy = 'static' | 'random' | 'roundRobin' | 'leastLoaded' | 'localFirst';

/** Options of {@link createReplicaSelector}. */
export interface ReplicaSelectorOptions {
  /** Default `roundRobin`. */
  policy?: ReplicaPolicy;
  /** GPU the tokens are on, for `static` and `localFirst`; default 0. */
  sourceGpu?: number;
  /** Seed of `random`; default 0. */
  seed?: number;
}

/** Turns logical expert ids into physical slots, the only place where that happens. */
export interface ReplicaSelector {
  /**
   * Writes the slot of every selection; -1 (no expert) stays -1. Allocates nothing.
   *
   * @param layer - row of the plan.
   * @param logicalIds - [tokens, topK] logical expert ids.
   * @param physicalIds - [tokens, topK], overwritten; may be `logicalIds` itself.
   */
  selectInto(layer: number, logicalIds: Int32Array, physicalIds: Int32Array): void;
  /** Takes one layer over from another plan for the same experts and deployment, when its weights have arrived. */
  switchLayer(layer: number, plan: Plan): void;
  /** Selections each GPU has received under `leastLoaded` since the last reset; zeros under the other policies. */
  readonly gpuSelections: Float64Array;
  /** Forgets `gpuSelections` and turns; the random sequence goes on. */
  reset(): void;
}

/** A selector for tokens of one source GPU. */
export function createReplicaSelector(plan: Plan, options: ReplicaSelectorOptions = {}): ReplicaSelector {
  return new TableSelector(plan, options);
}

const policies: readonly ReplicaPolicy[] = ['static', 'random', 'roundRobin', 'leastLoaded', 'localFirst'];

class TableSelector implements ReplicaSelector {
  readonly gpuSelections: Float64Array;
  readonly #policy: ReplicaPolicy;
  readonly #experts: number;
  readonly #layers: number;
  readonly #replicas: number;
  readonly #gpus: number;
  readonly #slotsPerGpu: number;
  readonly #gpusPerNode: number;
  readonly #sourceGpu: number;
  readonly #random: SeededRandom;
  /** [layers, experts + 1]: where an expert's slots begin. */
  readonly #starts: Int32Array;
  /** [layers, replicas]: slots by expert, ascending; the candidates first under `static` and `localFirst`. */
  readonly #slots: Int32Array;
  /** [layers, experts]: how many of an expert's slots are candidates. */
  readonly #candidates: Int32Array;
  readonly #turns: Int32Array;

  constructor(plan: Plan, options: ReplicaSelectorOptions) {
    const { policy = 'roundRobin', sourceGpu = 0, seed = 0 } = options;
    this.#experts = planExperts(plan);
    const sizes = checkPlan(plan, this.#experts);
    if (!policies.includes(policy)) {
      throw badConfig(
        `expected a replica policy, got ${String(policy)}`,
        policy,
        `use one of ${policies.join(', ')}`,
      );
    }
    if (!Number.isInteger(sourceGpu) || sourceGpu < 0 || sourceGpu >= sizes.gpus) {
      throw badConfig(
        `expected sourceGpu below ${sizes.gpus}, got ${sourceGpu}`,
        sourceGpu,
        'pass a GPU of the deployment',
      );
    }
    this.#policy = policy;
    this.#sourceGpu = sourceGpu;
    this.#layers = sizes.layers;
    this.#replicas = sizes.replicas;
    this.#gpus = sizes.gpus;
    this.#slotsPerGpu = sizes.slotsPerGpu;
    this.#gpusPerNode = sizes.gpusPerNode;
    this.#random = new SeededRandom(seed);
    this.#starts = new Int32Array(this.#layers * (this.#experts + 1));
    this.#slots = new Int32Array(this.#layers * this.#replicas);
    this.#candidates = new Int32Array(this.#layers * this.#experts);
    this.#turns = new Int32Array(this.#layers * this.#experts);
    this.gpuSelections = new Float64Array(this.#gpus);
    for (let layer = 0; layer < this.#layers; layer++) this.#fillLayer(layer, plan);
  }

  switchLayer(layer: number, plan: Plan): void {
    this.#checkLayer(layer);
    const sizes = checkPlan(plan, this.#experts);
    if (sizes.replicas !== this.#replicas || sizes.gpus !== this.#gpus || sizes.layers !== this.#layers) {
      throw badShape(
        `expected a plan of ${this.#layers} layers, ${this.#replicas} slots and ${this.#gpus} GPUs`,
        plan.deployment,
        'create a new selector for another deployment',
      );
    }
    this.#fillLayer(layer, plan);
  }

  reset(): void {
    this.gpuSelections.fill(0);
    this.#turns.fill(0);
  }

  selectInto(layer: number, logicalIds: Int32Array, physicalIds: Int32Array): void {
    this.#checkLayer(layer);
    const n = logicalIds.length;
    if (physicalIds.length !== n) {
      throw badShape(
        `expected ${n} values in physicalIds, got ${physicalIds.length}`,
        physicalIds.length,
        'pass arrays of one length',
      );
    }
    for (let i = 0; i < n; i++) {
      const id = logicalIds[i]!;
      if (id < -1 || id >= this.#experts) {
        throw badShape(
          `expected logical ids of -1 .. ${this.#experts - 1}, got ${id} at ${i}`,
          id,
          'pass what the gate selected',
        );
      }
    }
    if (this.#policy === 'roundRobin') this.#byPosition(layer, logicalIds, physicalIds);
    else if (this.#policy === 'random') this.#byDraw(layer, logicalIds, physicalIds);
    else if (this.#policy === 'leastLoaded') this.#byLoad(layer, logicalIds, physicalIds);
    else this.#byTurn(layer, logicalIds, physicalIds);
  }

  #byPosition(layer: number, ids: Int32Array, out: Int32Array): void {
    const rows = layer * (this.#experts + 1);
    const base = layer * this.#replicas;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0) {
        out[i] = -1;
        continue;
      }
      const start = this.#starts[rows + id]!;
      out[i] = this.#slots[base + start + (i % (this.#starts[rows + id + 1]! - start))]!;
    }
  }

  #byDraw(layer: number, ids: Int32Array, out: Int32Array): void {
    const rows = layer * (this.#experts + 1);
    const base = layer * this.#replicas;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0) {
        out[i] = -1;
        continue;
      }
      const start = this.#starts[rows + id]!;
      const count = this.#starts[rows + id + 1]! - start;
      out[i] = this.#slots[base + start + (count > 1 ? this.#random.below(count) : 0)]!;
    }
  }

  #byLoad(layer: number, ids: Int32Array, out: Int32Array): void {
    const rows = layer * (this.#experts + 1);
    const base = layer * this.#replicas;
    const loads = this.gpuSelections;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0) {
        out[i] = -1;
        continue;
      }
      const end = this.#starts[rows + id + 1]!;
      let best = -1;
      let lowest = Number.POSITIVE_INFINITY;
      for (let r = this.#starts[rows + id]!; r < end; r++) {
        const slot = this.#slots[base + r]!;
        const load = loads[Math.floor(slot / this.#slotsPerGpu)]!;
        if (load < lowest) {
          lowest = load;
          best = slot;
        }
      }
      loads[Math.floor(best / this.#slotsPerGpu)]!++;
      out[i] = best;
    }
  }

  /** `localFirst` takes turns among the candidates; `static` has one candidate, so its turn never moves. */
  #byTurn(layer: number, ids: Int32Array, out: Int32Array): void {
    const rows = layer * (this.#experts + 1);
    const base = layer * this.#replicas;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (id < 0) {
        out[i] = -1;
        continue;
      }
      const expert = layer * this.#experts + id;
      const turn = this.#turns[expert]!;
      out[i] = this.#slots[base + this.#starts[rows + id]! + turn]!;
      this.#turns[expert] = turn + 1 < this.#candidates[expert]! ? turn + 1 : 0;
    }
  }

  #checkLayer(layer: number): void {
    if (!Number.isInteger(layer) || layer < 0 || layer >= this.#layers) {
      throw badShape(`expected a layer below ${this.#layers}, got ${layer}`, layer, 'pass a row of the plan');
    }
  }

  #fillLayer(layer: number, plan: Plan): void {
    const starts = this.#starts.subarray(layer * (this.#experts + 1), (layer + 1) * (this.#experts + 1));
    const slots = this.#slots.subarray(layer * this.#replicas, (layer + 1) * this.#replicas);
    const counts = plan.logicalCount.subarray(layer * this.#experts, (layer + 1) * this.#experts);
    starts[0] = 0;
    for (let expert = 0; expert < this.#experts; expert++)
      starts[expert + 1] = starts[expert]! + counts[expert]!;
    const next = starts.slice(0, this.#experts);
    for (let slot = 0; slot < this.#replicas; slot++) {
      const expert = plan.physicalToLogical[layer * this.#replicas + slot]!;
      slots[next[expert]!++] = slot;
    }
    const candidates = this.#candidates.subarray(layer * this.#experts, (layer + 1) * this.#experts);
    for (let expert = 0; expert < this.#experts; expert++) {
      const own = slots.subarray(starts[expert]!, starts[expert + 1]!);
      candidates[expert] = this.#nearestFirst(own, expert);
    }
    this.#turns.fill(0, layer * this.#experts, (layer + 1) * this.#experts);
  }

  /** Moves the slots of the nearest class to the front and returns how many there are. */
  #nearestFirst(own: Int32Array, expert: number): number {
    if (this.#policy !== 'static' && this.#policy !== 'localFirst') return own.length;
    const distances = own.map((slot) => this.#distance(slot));
    const nearest = Math.min(...distances);
    const near = own.filter((_, i) => distances[i] === nearest);
    const rest = own.filter((_, i) => distances[i] !== nearest);
    if (this.#policy === 'static') {
      // Sources (GPUs of the node, or all GPUs) take the candidates in turn; the expert's id shifts the turn.
      const source = nearest === 1 ? this.#sourceGpu % this.#gpusPerNode : this.#sourceGpu;
      const chosen = (source + expert) % near.length;
      [near[0], near[chosen]] = [near[chosen]!, near[0]!];
    }
    own.set(near, 0);
    own.set(rest, near.length);
    return this.#policy === 'static' ? 1 : near.length;
  }

  #distance(slot: number): number {
    const gpu = Math.floor(slot / this.#slotsPerGpu);
    if (gpu === this.#sourceGpu) return 0;
    return Math.floor(gpu / this.#gpusPerNode) === Math.floor(this.#sourceGpu / this.#gpusPerNode) ? 1 : 2;
  }
}
