/**
 * One packing problem: experts with loads, replicated and packed into GPUs of equally many slots. A pool is a whole
 * layer, or one node of it where groups stay on nodes. Expert ids are local to the pool.
 */
export class Pool {
  readonly experts: number;
  readonly gpus: number;
  readonly slotsPerGpu: number;
  readonly replicas: number;
  readonly weights: Float64Array;
  readonly counts: Int32Array;
  /** Counts to start from, 1 unless set. */
  readonly minimum: Int32Array;
  /** 1 for experts whose count must stay at the minimum, since they also live outside the pool. */
  readonly fixed: Uint8Array;
  /** weights / counts. */
  readonly sizes: Float64Array;
  /** [experts, gpus]: 1 where an expert may be put; undefined for anywhere. */
  allowed: Uint8Array | undefined = undefined;
  /** Expert in each slot; GPU g owns slots g*S .. g*S+S-1. */
  readonly slots: Int32Array;
  readonly loads: Float64Array;
  readonly #order: Int32Array;
  readonly #used: Int32Array;

  constructor(experts: number, gpus: number, slotsPerGpu: number) {
    this.experts = experts;
    this.gpus = gpus;
    this.slotsPerGpu = slotsPerGpu;
    this.replicas = gpus * slotsPerGpu;
    this.weights = new Float64Array(experts);
    this.counts = new Int32Array(experts);
    this.minimum = new Int32Array(experts).fill(1);
    this.fixed = new Uint8Array(experts);
    this.sizes = new Float64Array(experts);
    this.slots = new Int32Array(this.replicas);
    this.loads = new Float64Array(gpus);
    this.#order = new Int32Array(experts);
    this.#used = new Int32Array(gpus);
  }

  /** Total of the weights. */
  total(): number {
    let total = 0;
    for (let e = 0; e < this.experts; e++) total += this.weights[e]!;
    return total;
  }

  /** Sets an expert's count and the size of its replicas. */
  setCount(expert: number, count: number): void {
    this.counts[expert] = count;
    this.sizes[expert] = this.weights[expert]! / count;
  }

  /** Replica counts that minimise the largest replica, with at most one replica a GPU as far as that is possible. */
  replicate(): void {
    let extra = this.replicas;
    for (let e = 0; e < this.experts; e++) {
      this.setCount(e, this.minimum[e]!);
      extra -= this.minimum[e]!;
    }
    for (; extra > 0; extra--) {
      let best = -1;
      for (let e = 0; e < this.experts; e++) {
        if (this.fixed[e] === 1 || this.counts[e]! >= this.gpus) continue;
        if (
          best < 0 ||
          this.sizes[e]! > this.sizes[best]! ||
          (this.sizes[e] === this.sizes[best] && this.counts[e]! < this.counts[best]!)
        ) {
          best = e;
        }
      }
      if (best < 0) best = Math.max(0, this.fixed.indexOf(0));
      this.setCount(best, this.counts[best]! + 1);
    }
  }

  /** Longest processing time first, each replica to the least loaded GPU with a free slot that does not hold its expert yet. */
  pack(): void {
    const order = this.#order;
    for (let e = 0; e < this.experts; e++) order[e] = e;
    order.sort((a, b) => this.sizes[b]! - this.sizes[a]! || a - b);
    const used = this.#used;
    used.fill(0);
    this.loads.fill(0);
    for (let i = 0; i < this.experts; i++) {
      const expert = order[i]!;
      for (let c = this.counts[expert]!; c > 0; c--) this.#place(expert, used);
    }
    this.sumLoads();
  }

  #place(expert: number, used: Int32Array): void {
    let best = -1;
    let bestHolds = true;
    for (let g = 0; g < this.gpus; g++) {
      if (used[g]! >= this.slotsPerGpu) continue;
      const holds = this.#holdsAmong(g, expert, used[g]!);
      if (best >= 0 && (holds !== bestHolds ? holds : this.loads[g]! >= this.loads[best]!)) continue;
      best = g;
      bestHolds = holds;
    }
    this.slots[best * this.slotsPerGpu + used[best]!] = expert;
    used[best]!++;
    this.loads[best]! += this.sizes[expert]!;
  }

  #holdsAmong(gpu: number, expert: number, used: number): boolean {
    const first = gpu * this.slotsPerGpu;
    for (let s = first; s < first + used; s++) if (this.slots[s] === expert) return true;
    return false;
  }

  /** Whether `expert` may come to `gpu` in place of what is in slot `except`. */
  accepts(gpu: number, expert: number, except: number): boolean {
    if (this.allowed !== undefined && this.allowed[expert * this.gpus + gpu] === 0) return false;
    return !this.holds(gpu, expert, except);
  }

  /** Whether `gpu` holds `expert` in a slot other than `except`. */
  holds(gpu: number, expert: number, except: number): boolean {
    const first = gpu * this.slotsPerGpu;
    for (let s = first; s < first + this.slotsPerGpu; s++) {
      if (s !== except && this.slots[s] === expert) return true;
    }
    return false;
  }

  /** Recomputes the load of one GPU in slot order, so that rounding never accumulates. */
  sumLoad(gpu: number): number {
    const first = gpu * this.slotsPerGpu;
    let sum = 0;
    for (let s = first; s < first + this.slotsPerGpu; s++) sum += this.sizes[this.slots[s]!]!;
    this.loads[gpu] = sum;
    return sum;
  }

  sumLoads(): void {
    for (let g = 0; g < this.gpus; g++) this.sumLoad(g);
  }

  hottest(): number {
    let hottest = 0;
    for (let g = 1; g < this.gpus; g++) if (this.loads[g]! > this.loads[hottest]!) hottest = g;
    return hottest;
  }

  maxLoad(): number {
    return this.loads[this.hottest()]!;
  }

  /** Takes counts and slots of another pool of the same shape over. */
  copyFrom(other: Pool): void {
    this.weights.set(other.weights);
    this.counts.set(other.counts);
    this.sizes.set(other.sizes);
    this.slots.set(other.slots);
    this.loads.set(other.loads);
  }
}
