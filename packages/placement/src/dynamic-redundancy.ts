import { badConfig, checkPlan } from './operands.js';
import { planExperts } from './plan.js';
import { TokenSplitter } from './token-split.js';
import type { Plan } from './types.js';

/** What one step does with the replicas that are in memory. */
export interface ActiveSet {
  /** [replicas]: 1 for slots that take tokens in this step. Overwritten by the next step. */
  readonly active: Uint8Array;
  /** [replicas]: tokens of each slot. Overwritten by the next step. */
  readonly quotas: Int32Array;
  /** Highest tokens on a GPU. */
  readonly maxLoad: number;
  /** Highest number of active slots on a GPU; above the limit only where experts with tokens live nowhere else. */
  readonly maxActive: number;
}

/**
 * Dynamic redundancy for decoding: every GPU holds more experts than it computes with in one step, since each active
 * expert costs the time to read its weights. For each batch one replica of every expert with tokens is switched on, largest experts
 * first on the emptiest GPU; then the fullest GPU hands tokens over by switching on replicas elsewhere, as long as that helps and
 * the limit allows; last, tokens are split optimally over what is on.
 */
export class DynamicRedundancy {
  readonly #activePerGpu: number;
  readonly #splitter: TokenSplitter;
  readonly #active: Uint8Array;
  readonly #quotas: Int32Array;
  readonly #slotsPerGpu: number;
  readonly #gpus: number;
  readonly #experts: number;
  /** Slots by expert. */
  readonly #starts: Int32Array;
  readonly #slots: Int32Array;
  readonly #loads: Float64Array;
  readonly #shares: Float64Array;
  readonly #activeOn: Int32Array;
  readonly #order: Int32Array;
  readonly #expertOf: Int32Array;
  readonly #stuck: Uint8Array;

  /** For one layer of a plan whose slots are all in memory, `activePerGpu` of them used at a time. */
  constructor(plan: Plan, layer: number, options: { activePerGpu: number }) {
    const { slotsPerGpu, replicas, experts, gpus } = checkPlan(plan, planExperts(plan));
    const { activePerGpu } = options;
    if (!Number.isSafeInteger(activePerGpu) || activePerGpu < 1 || activePerGpu > slotsPerGpu) {
      throw badConfig(
        `expected activePerGpu of 1 .. ${slotsPerGpu}, got ${activePerGpu}`,
        activePerGpu,
        'activate at most what a GPU holds',
      );
    }
    this.#splitter = new TokenSplitter(plan, layer);
    this.#activePerGpu = activePerGpu;
    this.#slotsPerGpu = slotsPerGpu;
    this.#gpus = gpus;
    this.#experts = experts;
    this.#active = new Uint8Array(replicas);
    this.#quotas = new Int32Array(replicas);
    this.#loads = new Float64Array(gpus);
    this.#shares = new Float64Array(replicas);
    this.#activeOn = new Int32Array(gpus);
    this.#order = new Int32Array(experts);
    this.#stuck = new Uint8Array(gpus);
    this.#expertOf = plan.physicalToLogical.slice(layer * replicas, (layer + 1) * replicas);
    this.#starts = new Int32Array(experts + 1);
    const hosts: number[][] = Array.from({ length: experts }, () => []);
    for (let s = 0; s < replicas; s++) {
      // A second replica on a GPU is of no use.
      const list = hosts[this.#expertOf[s]!]!;
      if (list.length === 0 || Math.floor(list.at(-1)! / slotsPerGpu) !== Math.floor(s / slotsPerGpu))
        list.push(s);
    }
    for (let e = 0; e < experts; e++) this.#starts[e + 1] = this.#starts[e]! + hosts[e]!.length;
    this.#slots = Int32Array.from(hosts.flat());
  }

  /** Chooses slots and tokens for a batch. */
  step(counts: ArrayLike<number>): ActiveSet {
    this.#active.fill(0);
    this.#shares.fill(0);
    this.#loads.fill(0);
    this.#activeOn.fill(0);
    this.#stuck.fill(0);
    // The splitter refuses bad counts before anything is read from them.
    this.#active.fill(1);
    this.#splitter.splitInto(counts, this.#quotas);
    this.#active.fill(0);
    this.#switchFirstOn(counts);
    this.#relieve();
    const maxLoad = this.#splitter.splitInto(counts, this.#quotas, this.#active);
    let maxActive = 0;
    for (let gpu = 0; gpu < this.#gpus; gpu++) {
      let n = 0;
      for (let s = gpu * this.#slotsPerGpu; s < (gpu + 1) * this.#slotsPerGpu; s++) {
        this.#active[s] = this.#quotas[s]! > 0 ? 1 : 0;
        n += this.#active[s]!;
      }
      if (n > maxActive) maxActive = n;
    }
    return { active: this.#active, quotas: this.#quotas, maxLoad, maxActive };
  }

  /** One replica of every expert with tokens; experts with few hosts first among those that fill a GPU's limit. */
  #switchFirstOn(counts: ArrayLike<number>): void {
    const order = this.#order;
    for (let e = 0; e < this.#experts; e++) order[e] = e;
    const hosts = (e: number): number => (this.#starts[e + 1]! - this.#starts[e]! > 1 ? 1 : 0);
    order.sort((a, b) => hosts(a) - hosts(b) || counts[b]! - counts[a]! || a - b);
    for (const e of order) {
      if (counts[e] === 0) continue;
      const slot = this.#emptiestHost(e);
      this.#switchOn(slot < 0 ? this.#slots[this.#starts[e]!]! : slot);
      this.#level(e, counts[e]!);
    }
  }

  /** The slot of an expert that is off, on the emptiest GPU below the limit; -1 without one. */
  #emptiestHost(expert: number): number {
    let best = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (let i = this.#starts[expert]!; i < this.#starts[expert + 1]!; i++) {
      const slot = this.#slots[i]!;
      const gpu = Math.floor(slot / this.#slotsPerGpu);
      if (this.#active[slot] === 1 || this.#activeOn[gpu]! >= this.#activePerGpu) continue;
      if (this.#loads[gpu]! < lowest) {
        lowest = this.#loads[gpu]!;
        best = slot;
      }
    }
    return best;
  }

  #switchOn(slot: number): void {
    this.#active[slot] = 1;
    this.#activeOn[Math.floor(slot / this.#slotsPerGpu)]!++;
  }

  /** Switches replicas on for experts of the fullest GPU while an emptier host is free. */
  #relieve(): void {
    const S = this.#slotsPerGpu;
    for (;;) {
      let hot = -1;
      for (let g = 0; g < this.#gpus; g++) {
        if (this.#stuck[g] === 0 && (hot < 0 || this.#loads[g]! > this.#loads[hot]!)) hot = g;
      }
      if (hot < 0) return;
      let best = -1;
      let lowest = this.#loads[hot]!;
      for (let s = hot * S; s < hot * S + S; s++) {
        if (this.#active[s] === 0 || this.#shares[s] === 0) continue;
        const slot = this.#emptiestHost(this.#expertOf[s]!);
        if (slot < 0) continue;
        // What both would carry if the share were halved between them, as far as it reaches.
        const other = this.#loads[Math.floor(slot / S)]!;
        const moved = Math.min(this.#shares[s]!, (this.#loads[hot]! - other) / 2);
        if (moved > 0 && this.#loads[hot]! - moved < lowest) {
          lowest = this.#loads[hot]! - moved;
          best = slot;
        }
      }
      if (best < 0) {
        this.#stuck[hot] = 1;
        continue;
      }
      const expert = this.#expertOf[best]!;
      let tokens = 0;
      for (let i = this.#starts[expert]!; i < this.#starts[expert + 1]!; i++)
        tokens += this.#shares[this.#slots[i]!]!;
      this.#switchOn(best);
      this.#level(expert, tokens);
    }
  }

  /** Fills an expert's tokens like water over the GPUs where it is on. */
  #level(expert: number, tokens: number): void {
    const first = this.#starts[expert]!;
    const end = this.#starts[expert + 1]!;
    const S = this.#slotsPerGpu;
    for (let i = first; i < end; i++)
      this.#loads[Math.floor(this.#slots[i]! / S)]! -= this.#shares[this.#slots[i]!]!;
    let on = 0;
    let sum = tokens;
    for (let i = first; i < end; i++) {
      if (this.#active[this.#slots[i]!] === 0) continue;
      on++;
      sum += this.#loads[Math.floor(this.#slots[i]! / S)]!;
    }
    // Hosts above the level are dry; each round leaves at least one out.
    let level = sum / on;
    for (let round = 0; round < end - first; round++) {
      let wet = 0;
      let below = tokens;
      for (let i = first; i < end; i++) {
        const load = this.#loads[Math.floor(this.#slots[i]! / S)]!;
        if (this.#active[this.#slots[i]!] === 0 || load > level) continue;
        wet++;
        below += load;
      }
      const next = below / wet;
      if (next === level) break;
      level = next;
    }
    for (let i = first; i < end; i++) {
      const slot = this.#slots[i]!;
      const gpu = Math.floor(slot / S);
      this.#shares[slot] = this.#active[slot] === 1 ? Math.max(0, level - this.#loads[gpu]!) : 0;
      this.#loads[gpu]! += this.#shares[slot]!;
    }
  }
}
