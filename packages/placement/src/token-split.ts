import { badShape, checkPlan } from './operands.js';
import { planExperts } from './plan.js';
import type { Plan } from './types.js';

/** Rounds of levelling before paths between GPUs finish the rest. */
const SWEEPS = 6;

/**
 * Splits the tokens of each expert over its replicas so that the highest GPU load is as low as any split of whole tokens
 * allows: experts are levelled one by one over their GPUs, then tokens move along chains of experts from the fullest
 * GPU to emptier ones until no chain exists, which proves the optimum (min cut).
 */
export class TokenSplitter {
  readonly experts: number;
  readonly replicas: number;
  readonly #gpus: number;
  /** Replicas by expert: [experts + 1] starts, GPU and slot of each; several on one GPU count as one. */
  readonly #starts: Int32Array;
  readonly #replicaGpu: Int32Array;
  readonly #replicaSlot: Int32Array;
  readonly #replicaExpert: Int32Array;
  /** Replicas by GPU, the same way. */
  readonly #gpuStarts: Int32Array;
  readonly #gpuReplicas: Int32Array;
  readonly #quota: Int32Array;
  readonly #usable: Uint8Array;
  readonly #loads: Float64Array;
  readonly #order: Int32Array;
  readonly #queue: Int32Array;
  /** Replica whose tokens leave, and replica they go to, on the way to each GPU reached. */
  readonly #from: Int32Array;
  readonly #to: Int32Array;
  readonly #seen: Int32Array;
  #visit = 0;

  /** For one layer of a plan; make a new one when the layer switches. */
  constructor(plan: Plan, layer: number) {
    const experts = planExperts(plan);
    const { replicas, gpus, slotsPerGpu, layers } = checkPlan(plan, experts);
    if (!Number.isInteger(layer) || layer < 0 || layer >= layers) {
      throw badShape(`expected a layer below ${layers}, got ${layer}`, layer, 'pass a row of the plan');
    }
    this.experts = experts;
    this.replicas = replicas;
    this.#gpus = gpus;
    const lists: number[][] = Array.from({ length: experts }, () => []);
    const byGpu: number[][] = Array.from({ length: gpus }, () => []);
    for (let slot = 0; slot < replicas; slot++) {
      const list = lists[plan.physicalToLogical[layer * replicas + slot]!]!;
      const gpu = Math.floor(slot / slotsPerGpu);
      if (list.length === 0 || Math.floor(list[list.length - 1]! / slotsPerGpu) !== gpu) list.push(slot);
    }
    const distinct = lists.reduce((n, list) => n + list.length, 0);
    this.#starts = new Int32Array(experts + 1);
    this.#replicaGpu = new Int32Array(distinct);
    this.#replicaSlot = new Int32Array(distinct);
    this.#replicaExpert = new Int32Array(distinct);
    this.#gpuStarts = new Int32Array(gpus + 1);
    this.#gpuReplicas = new Int32Array(distinct);
    let next = 0;
    lists.forEach((list, expert) => {
      this.#starts[expert] = next;
      for (const slot of list) {
        this.#replicaSlot[next] = slot;
        this.#replicaGpu[next] = Math.floor(slot / slotsPerGpu);
        this.#replicaExpert[next] = expert;
        byGpu[this.#replicaGpu[next]!]!.push(next++);
      }
    });
    this.#starts[experts] = next;
    next = 0;
    byGpu.forEach((list, gpu) => {
      this.#gpuStarts[gpu] = next;
      for (const replica of list) this.#gpuReplicas[next++] = replica;
    });
    this.#gpuStarts[gpus] = next;
    this.#quota = new Int32Array(distinct);
    this.#usable = new Uint8Array(distinct);
    this.#loads = new Float64Array(gpus);
    this.#order = new Int32Array(distinct);
    this.#queue = new Int32Array(gpus);
    this.#from = new Int32Array(gpus);
    this.#to = new Int32Array(gpus);
    this.#seen = new Int32Array(gpus);
  }

  /**
   * Writes the tokens of each slot; returns the highest GPU load. Allocates nothing.
   *
   * @param counts - tokens of each expert in this layer, [experts], whole numbers below 2^31.
   * @param quotas - [replicas], overwritten; sums to the count over the slots of each expert.
   * @param active - [replicas], 1 for slots that may be used; default all. Each expert with tokens needs one.
   */
  splitInto(counts: ArrayLike<number>, quotas: Int32Array, active?: Uint8Array): number {
    if (counts.length !== this.experts || quotas.length !== this.replicas) {
      throw badShape(
        `expected ${this.experts} counts and ${this.replicas} quotas, got ${counts.length} and ${quotas.length}`,
        counts.length,
        'pass one count an expert and one quota a slot',
      );
    }
    for (let e = 0; e < this.experts; e++) {
      if (counts[e]! !== Math.trunc(counts[e]!) || counts[e]! < 0 || counts[e]! > 0x7fffffff) {
        throw badShape(
          `expected whole token counts of 0 .. 2^31 - 1, got ${counts[e]} for expert ${e}`,
          String(counts[e]),
          'pass token counts',
        );
      }
    }
    this.#loads.fill(0);
    this.#quota.fill(0);
    this.#setUsable(counts, active);
    for (let e = 0; e < this.experts; e++) {
      let r = this.#starts[e]!;
      while (this.#usable[r] === 0 && r < this.#starts[e + 1]! - 1) r++;
      this.#quota[r] = counts[e]!;
      this.#loads[this.#replicaGpu[r]!]! += counts[e]!;
    }
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
      for (let e = 0; e < this.experts; e++) {
        if (this.#starts[e + 1]! - this.#starts[e]! > 1 && counts[e]! > 0) this.#level(e, counts[e]!);
      }
    }
    const highest = this.#drain();
    quotas.fill(0);
    for (let r = 0; r < this.#quota.length; r++) quotas[this.#replicaSlot[r]!] = this.#quota[r]!;
    return highest;
  }

  #setUsable(counts: ArrayLike<number>, active: Uint8Array | undefined): void {
    if (active === undefined) {
      this.#usable.fill(1);
      return;
    }
    if (active.length !== this.replicas) {
      throw badShape(
        `expected ${this.replicas} flags, got ${active.length}`,
        active.length,
        'pass one flag a slot',
      );
    }
    for (let e = 0; e < this.experts; e++) {
      let any = 0;
      for (let r = this.#starts[e]!; r < this.#starts[e + 1]!; r++) {
        this.#usable[r] = active[this.#replicaSlot[r]!] === 1 ? 1 : 0;
        any += this.#usable[r]!;
      }
      if (any === 0 && counts[e]! > 0) {
        throw badShape(
          `expert ${e} has ${counts[e]} tokens but no active slot`,
          e,
          'keep a slot active for every expert with tokens',
        );
      }
    }
  }

  /** Fills an expert's tokens into its GPUs like water, lowest first. */
  #level(expert: number, tokens: number): void {
    const start = this.#starts[expert]!;
    const end = this.#starts[expert + 1]!;
    const loads = this.#loads;
    const order = this.#order;
    let n = 0;
    for (let r = start; r < end; r++) loads[this.#replicaGpu[r]!]! -= this.#quota[r]!;
    for (let replica = start; replica < end; replica++) {
      if (this.#usable[replica] === 0) continue;
      const i = n++;
      const load = loads[this.#replicaGpu[replica]!]!;
      let j = i;
      for (; j > 0 && loads[this.#replicaGpu[order[j - 1]!]!]! > load; j--) order[j] = order[j - 1]!;
      order[j] = replica;
    }
    let wet = 1;
    let sum = loads[this.#replicaGpu[order[0]!]!]!;
    while (wet < n && loads[this.#replicaGpu[order[wet]!]!]! * wet < sum + tokens) {
      sum += loads[this.#replicaGpu[order[wet]!]!]!;
      wet++;
    }
    const level = Math.floor((sum + tokens) / wet);
    let rest = sum + tokens - level * wet;
    for (let i = 0; i < n; i++) {
      const replica = order[i]!;
      const gpu = this.#replicaGpu[replica]!;
      let share = 0;
      if (i < wet) {
        share = level - loads[gpu]!;
        if (rest > 0) {
          share++;
          rest--;
        }
      }
      this.#quota[replica] = share;
      loads[gpu]! += share;
    }
  }

  /** Moves tokens from the fullest GPU along chains until one of the fullest has none left to move. */
  #drain(): number {
    const loads = this.#loads;
    for (;;) {
      let hot = 0;
      for (let g = 1; g < this.#gpus; g++) if (loads[g]! > loads[hot]!) hot = g;
      const end = this.#reach(hot);
      if (end < 0) return loads[hot]!;
      let amount = Math.floor((loads[hot]! - loads[end]!) / 2);
      for (let g = end; g !== hot; g = this.#replicaGpu[this.#from[g]!]!) {
        if (this.#quota[this.#from[g]!]! < amount) amount = this.#quota[this.#from[g]!]!;
      }
      for (let g = end; g !== hot; g = this.#replicaGpu[this.#from[g]!]!) {
        this.#quota[this.#from[g]!]! -= amount;
        this.#quota[this.#to[g]!]! += amount;
      }
      loads[hot]! -= amount;
      loads[end]! += amount;
    }
  }

  /** Breadth-first from `hot` over experts that have tokens to move; a GPU at least 2 below it, or -1. */
  #reach(hot: number): number {
    const loads = this.#loads;
    const visit = ++this.#visit;
    const limit = loads[hot]! - 2;
    this.#queue[0] = hot;
    this.#seen[hot] = visit;
    let tail = 1;
    for (let head = 0; head < tail; head++) {
      const gpu = this.#queue[head]!;
      for (let i = this.#gpuStarts[gpu]!; i < this.#gpuStarts[gpu + 1]!; i++) {
        const replica = this.#gpuReplicas[i]!;
        if (this.#quota[replica] === 0) continue;
        const expert = this.#replicaExpert[replica]!;
        for (let r = this.#starts[expert]!; r < this.#starts[expert + 1]!; r++) {
          const next = this.#replicaGpu[r]!;
          if (this.#seen[next] === visit || this.#usable[r] === 0) continue;
          this.#seen[next] = visit;
          this.#from[next] = replica;
          this.#to[next] = r;
          if (loads[next]! <= limit) return next;
          this.#queue[tail++] = next;
        }
      }
    }
    return -1;
  }
}
