import type { Pool } from './pool.js';

/** When an adjustment is worth its migration. */
export interface AdjustLimits {
  /** GPUs up to this share above the mean are left alone. */
  tolerance: number;
  /** Least fall of the potential (see {@link PoolAdjuster}) that a received replica must buy. */
  worth: number;
  /** Replicas a GPU may receive. */
  receives: number;
}

/**
 * Improves a pool by few moves. The potential is the sum over GPUs of the squared load above the tolerated one, in
 * units of the mean: what noise turns into the next maximum. Each step takes, for the hottest GPU that has one, the
 * move that lowers the potential most for each replica that some GPU has to receive.
 */
export class PoolAdjuster {
  readonly #pool: Pool;
  readonly #gpuNode: Int32Array;
  readonly #firstSlot: Int32Array;
  readonly #nextSlot: Int32Array;
  readonly #received: Int32Array;
  readonly #idle: Uint8Array;
  readonly #delta: Float64Array;
  readonly #touched: Int32Array;
  readonly #stamps: Int32Array;
  /** Node of experts that live on one node only, else -1; all 0 where nodes do not matter. */
  readonly #home: Int32Array;
  readonly #heldExcess: Float64Array;
  #touchedCount = 0;
  #stamp = 0;
  #allowed = 0;
  #receives = 0;
  #bestValue = 0;
  #bestKind = 0;
  #bestSlot = -1;
  #bestArgument = -1;

  /** @param gpusPerNode - keep every expert on the nodes it is on; the number of GPUs where nodes do not matter. */
  constructor(pool: Pool, gpusPerNode: number) {
    this.#pool = pool;
    this.#gpuNode = Int32Array.from({ length: pool.gpus }, (_, g) => Math.floor(g / gpusPerNode));
    this.#firstSlot = new Int32Array(pool.experts);
    this.#nextSlot = new Int32Array(pool.replicas);
    this.#received = new Int32Array(pool.gpus);
    this.#idle = new Uint8Array(pool.gpus);
    this.#delta = new Float64Array(pool.gpus);
    this.#touched = new Int32Array(pool.gpus);
    this.#stamps = new Int32Array(pool.gpus);
    this.#home = new Int32Array(pool.experts);
    this.#heldExcess = new Float64Array(pool.experts);
  }

  /** Adjusts the pool, whose slots, counts and weights are set; returns the number of moves. */
  adjust(limits: AdjustLimits): number {
    const pool = this.#pool;
    this.#link();
    this.#received.fill(0);
    this.#idle.fill(0);
    const mean = pool.total() / pool.gpus;
    if (mean === 0) return 0;
    this.#allowed = mean * (1 + limits.tolerance);
    this.#receives = limits.receives;
    const worth = limits.worth * mean * mean;
    let moves = 0;
    while (moves < pool.replicas) {
      const hot = this.#hottestActive();
      if (hot < 0) break;
      this.#bestValue = worth;
      this.#bestSlot = -1;
      this.#sumHeldExcess();
      this.#trySwaps(hot);
      this.#tryReplicas(hot);
      this.#tryHandOver(hot);
      if (this.#bestSlot < 0) {
        this.#idle[hot] = 1;
        continue;
      }
      this.#apply();
      this.#idle.fill(0);
      moves++;
    }
    return moves;
  }

  #hottestActive(): number {
    const { loads, gpus } = this.#pool;
    let hot = -1;
    for (let g = 0; g < gpus; g++) {
      if (this.#idle[g] === 0 && loads[g]! > this.#allowed && (hot < 0 || loads[g]! > loads[hot]!)) hot = g;
    }
    return hot;
  }

  /** What an expert's GPUs are above the tolerated load: one more replica cannot gain more than that. */
  #sumHeldExcess(): void {
    const { slots, loads, gpus, slotsPerGpu: S } = this.#pool;
    this.#heldExcess.fill(0);
    for (let g = 0; g < gpus; g++) {
      const excess = this.#excess(loads[g]!);
      if (excess === 0) continue;
      for (let s = g * S; s < g * S + S; s++) this.#heldExcess[slots[s]!]! += excess;
    }
  }

  #excess(load: number): number {
    const over = load - this.#allowed;
    return over > 0 ? over * over : 0;
  }

  /** Replicas of `hot` against smaller ones elsewhere: both GPUs receive one. */
  #trySwaps(hot: number): void {
    const pool = this.#pool;
    const { slots, sizes, loads, slotsPerGpu: S } = pool;
    if (this.#received[hot]! >= this.#receives) return;
    const own = loads[hot]!;
    const before = this.#excess(own);
    if (before / 2 <= this.#bestValue) return;
    for (let s = hot * S; s < hot * S + S; s++) {
      const a = slots[s]!;
      const size = sizes[a]!;
      for (let h = 0; h < pool.gpus; h++) {
        if (h === hot || loads[h]! >= own || this.#received[h]! >= this.#receives) continue;
        if (this.#gpuNode[h] !== this.#gpuNode[hot]) continue;
        const other = loads[h]!;
        const otherBefore = this.#excess(other);
        for (let t = h * S; t < h * S + S; t++) {
          const d = size - sizes[slots[t]!]!;
          if (d <= 0) continue;
          const gain = (before + otherBefore - this.#excess(own - d) - this.#excess(other + d)) / 2;
          if (gain <= this.#bestValue) continue;
          if (pool.holds(h, a, t) || pool.holds(hot, slots[t]!, s)) continue;
          this.#keep(gain, 0, s, t);
        }
      }
    }
  }

  /** One more replica for an expert of `hot`, in place of one that its expert can spare: one GPU receives. */
  #tryReplicas(hot: number): void {
    const pool = this.#pool;
    const { slots, counts, slotsPerGpu: S } = pool;
    for (let s = hot * S; s < hot * S + S; s++) {
      const expert = slots[s]!;
      if (counts[expert]! >= pool.gpus || this.#heldExcess[expert]! <= this.#bestValue) continue;
      for (let t = 0; t < pool.replicas; t++) this.#tryReplace(expert, t);
    }
  }

  /** Another expert in place of a replica of `hot` that its expert can spare: `hot` receives. */
  #tryHandOver(hot: number): void {
    const pool = this.#pool;
    const S = pool.slotsPerGpu;
    const own = this.#excess(pool.loads[hot]!);
    for (let s = hot * S; s < hot * S + S; s++) {
      if (pool.counts[pool.slots[s]!]! < 2) continue;
      for (let e = 0; e < pool.experts; e++) {
        if (own + this.#heldExcess[e]! > this.#bestValue) this.#tryReplace(e, s);
      }
    }
  }

  #tryReplace(expert: number, slot: number): void {
    const pool = this.#pool;
    const spare = pool.slots[slot]!;
    if (spare === expert || pool.counts[spare]! < 2 || pool.counts[expert]! >= pool.gpus) return;
    const gpu = Math.floor(slot / pool.slotsPerGpu);
    if (this.#received[gpu]! >= this.#receives) return;
    const node = this.#gpuNode[gpu]!;
    if (this.#home[expert] !== node || this.#home[spare] !== node) return;
    const gain = this.#replaceGain(expert, spare, gpu);
    if (gain > this.#bestValue && !pool.holds(gpu, expert, slot)) this.#keep(gain, 1, slot, expert);
  }

  #replaceGain(expert: number, spare: number, gpu: number): number {
    const { counts, weights, sizes, loads, slotsPerGpu: S } = this.#pool;
    const more = weights[expert]! / (counts[expert]! + 1);
    const less = weights[spare]! / (counts[spare]! - 1);
    this.#touchedCount = 0;
    this.#stamp++;
    for (let s = this.#firstSlot[expert]!; s >= 0; s = this.#nextSlot[s]!) {
      this.#touch(Math.floor(s / S), more - sizes[expert]!);
    }
    for (let s = this.#firstSlot[spare]!; s >= 0; s = this.#nextSlot[s]!) {
      this.#touch(Math.floor(s / S), less - sizes[spare]!);
    }
    this.#touch(gpu, more - less);
    let gain = 0;
    for (let i = 0; i < this.#touchedCount; i++) {
      const g = this.#touched[i]!;
      gain += this.#excess(loads[g]!) - this.#excess(loads[g]! + this.#delta[g]!);
    }
    return gain;
  }

  #touch(gpu: number, change: number): void {
    if (this.#stamps[gpu] === this.#stamp) {
      this.#delta[gpu]! += change;
      return;
    }
    this.#stamps[gpu] = this.#stamp;
    this.#touched[this.#touchedCount++] = gpu;
    this.#delta[gpu] = change;
  }

  #keep(value: number, kind: number, slot: number, argument: number): void {
    this.#bestValue = value;
    this.#bestKind = kind;
    this.#bestSlot = slot;
    this.#bestArgument = argument;
  }

  #apply(): void {
    const pool = this.#pool;
    const S = pool.slotsPerGpu;
    const s = this.#bestSlot;
    const a = pool.slots[s]!;
    this.#received[Math.floor(s / S)]!++;
    this.#unlink(a, s);
    if (this.#bestKind === 0) {
      const t = this.#bestArgument;
      const b = pool.slots[t]!;
      this.#received[Math.floor(t / S)]!++;
      this.#unlink(b, t);
      this.#put(b, s);
      this.#put(a, t);
      pool.sumLoad(Math.floor(s / S));
      pool.sumLoad(Math.floor(t / S));
      return;
    }
    const e = this.#bestArgument;
    this.#put(e, s);
    pool.setCount(a, pool.counts[a]! - 1);
    pool.setCount(e, pool.counts[e]! + 1);
    for (let i = this.#firstSlot[e]!; i >= 0; i = this.#nextSlot[i]!) pool.sumLoad(Math.floor(i / S));
    for (let i = this.#firstSlot[a]!; i >= 0; i = this.#nextSlot[i]!) pool.sumLoad(Math.floor(i / S));
  }

  #link(): void {
    const pool = this.#pool;
    this.#firstSlot.fill(-1);
    this.#home.fill(-2);
    for (let s = pool.replicas - 1; s >= 0; s--) {
      const e = pool.slots[s]!;
      const node = this.#gpuNode[Math.floor(s / pool.slotsPerGpu)]!;
      this.#home[e] = this.#home[e] === -2 || this.#home[e] === node ? node : -1;
      this.#put(e, s);
    }
  }

  #put(expert: number, slot: number): void {
    this.#pool.slots[slot] = expert;
    this.#nextSlot[slot] = this.#firstSlot[expert]!;
    this.#firstSlot[expert] = slot;
  }

  #unlink(expert: number, slot: number): void {
    let s = this.#firstSlot[expert]!;
    if (s === slot) {
      this.#firstSlot[expert] = this.#nextSlot[slot]!;
      return;
    }
    while (this.#nextSlot[s] !== slot) s = this.#nextSlot[s]!;
    this.#nextSlot[s] = this.#nextSlot[slot]!;
  }
}
