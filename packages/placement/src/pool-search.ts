import type { Pool } from './pool.js';
import type { SeededRandom } from './random.js';

/** Random exchanges between two searches. */
const KICK_SWAPS = 3;

/** A gain below this share of the load is rounding, not progress. */
const EPSILON = 1e-9;

/** Local search on a pool: swaps and replica moves that lower the hottest GPU until nothing does. */
export class PoolSearch {
  readonly #pool: Pool;
  /** Slots by expert, in a linked list. */
  readonly #firstSlot: Int32Array;
  readonly #nextSlot: Int32Array;
  readonly #delta: Float64Array;
  readonly #touched: Int32Array;
  readonly #stamps: Int32Array;
  #touchedCount = 0;
  #stamp = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#firstSlot = new Int32Array(pool.experts);
    this.#nextSlot = new Int32Array(pool.replicas);
    this.#delta = new Float64Array(pool.gpus);
    this.#touched = new Int32Array(pool.gpus);
    this.#stamps = new Int32Array(pool.gpus);
  }

  /** Improves the pool until no GPU is above `target` or no move helps; returns the highest load. */
  improve(target: number, canMoveCounts: boolean): number {
    const pool = this.#pool;
    this.#link();
    // Each step lowers the hottest GPU and leaves all others below it, so the search ends; the cap bounds its time.
    for (let step = 40 * pool.replicas; step > 0; step--) {
      const hot = pool.hottest();
      if (pool.loads[hot]! <= target) break;
      if (this.#swap(hot)) continue;
      if (!canMoveCounts || !this.#moveCount(hot)) break;
    }
    return pool.maxLoad();
  }

  /** The swap of one replica of `hot` with a smaller one elsewhere that leaves the lower maximum of the two GPUs. */
  #swap(hot: number): boolean {
    const pool = this.#pool;
    const { slots, sizes, loads, slotsPerGpu: S } = pool;
    const highest = loads[hot]!;
    let best = highest * (1 - EPSILON);
    let bestSlot = -1;
    let bestOther = -1;
    for (let s = hot * S; s < hot * S + S; s++) {
      const a = slots[s]!;
      const size = sizes[a]!;
      for (let h = 0; h < pool.gpus; h++) {
        if (h === hot || loads[h]! >= best) continue;
        const other = loads[h]!;
        for (let t = h * S; t < h * S + S; t++) {
          const b = slots[t]!;
          const d = size - sizes[b]!;
          if (d <= 0) continue;
          const worse = Math.max(highest - d, other + d);
          if (worse < best && pool.accepts(h, a, t) && pool.accepts(hot, b, s)) {
            best = worse;
            bestSlot = s;
            bestOther = t;
          }
        }
      }
    }
    if (bestSlot < 0) return false;
    this.#exchange(bestSlot, bestOther);
    return true;
  }

  #exchange(s: number, t: number): void {
    const pool = this.#pool;
    const a = pool.slots[s]!;
    const b = pool.slots[t]!;
    this.#unlink(a, s);
    this.#unlink(b, t);
    pool.slots[s] = b;
    pool.slots[t] = a;
    this.#add(b, s);
    this.#add(a, t);
    pool.sumLoad(Math.floor(s / pool.slotsPerGpu));
    pool.sumLoad(Math.floor(t / pool.slotsPerGpu));
  }

  /** One more replica for an expert of `hot`, in the slot of a replica that its expert can spare. */
  #moveCount(hot: number): boolean {
    const pool = this.#pool;
    const { slots, counts, loads, fixed, slotsPerGpu: S } = pool;
    let best = loads[hot]! * (1 - EPSILON);
    let bestExpert = -1;
    let bestSlot = -1;
    for (let s = hot * S; s < hot * S + S; s++) {
      const expert = slots[s]!;
      if (counts[expert]! >= pool.gpus || pool.sizes[expert] === 0 || fixed[expert] === 1) continue;
      for (let t = 0; t < pool.replicas; t++) {
        const spare = slots[t]!;
        if (counts[spare]! < 2 || spare === expert || fixed[spare] === 1) continue;
        const gpu = Math.floor(t / S);
        if (!pool.accepts(gpu, expert, t)) continue;
        const worst = this.#maxAfter(expert, spare, gpu, hot, best);
        if (worst < best) {
          best = worst;
          bestExpert = expert;
          bestSlot = t;
        }
      }
    }
    if (bestSlot < 0) return false;
    this.replace(bestSlot, bestExpert);
    return true;
  }

  /** The highest load among the GPUs that the replica move touches, or `limit` if it is not below that. */
  #maxAfter(expert: number, spare: number, gpu: number, hot: number, limit: number): number {
    const { counts, weights, sizes, loads, slotsPerGpu: S } = this.#pool;
    const grownSize = weights[expert]! / (counts[expert]! + 1);
    const grow = grownSize - sizes[expert]!;
    const shrunkSize = weights[spare]! / (counts[spare]! - 1);
    const shrink = shrunkSize - sizes[spare]!;
    this.#touchedCount = 0;
    this.#stamp++;
    this.#touch(hot, 0);
    for (let s = this.#firstSlot[expert]!; s >= 0; s = this.#nextSlot[s]!)
      this.#touch(Math.floor(s / S), grow);
    for (let s = this.#firstSlot[spare]!; s >= 0; s = this.#nextSlot[s]!) {
      this.#touch(Math.floor(s / S), shrink);
    }
    this.#touch(gpu, grownSize - shrunkSize);
    let worst = 0;
    for (let i = 0; i < this.#touchedCount; i++) {
      const g = this.#touched[i]!;
      const load = loads[g]! + this.#delta[g]!;
      if (load > worst) worst = load;
    }
    return Math.min(worst, limit);
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

  /** Puts one more replica of `expert` into `slot`, whose expert loses one. */
  replace(slot: number, expert: number): void {
    const pool = this.#pool;
    const spare = pool.slots[slot]!;
    this.#unlink(spare, slot);
    pool.slots[slot] = expert;
    this.#add(expert, slot);
    pool.setCount(spare, pool.counts[spare]! - 1);
    pool.setCount(expert, pool.counts[expert]! + 1);
    const S = pool.slotsPerGpu;
    for (let s = this.#firstSlot[expert]!; s >= 0; s = this.#nextSlot[s]!) pool.sumLoad(Math.floor(s / S));
    for (let s = this.#firstSlot[spare]!; s >= 0; s = this.#nextSlot[s]!) pool.sumLoad(Math.floor(s / S));
    pool.sumLoad(Math.floor(slot / S));
  }

  /** Moves a few replicas at random, so that the next search starts elsewhere. */
  kick(random: SeededRandom, canMoveCounts: boolean): void {
    const pool = this.#pool;
    const S = pool.slotsPerGpu;
    this.#link();
    for (let i = 0; i < KICK_SWAPS; i++) {
      const s = i === 0 ? pool.hottest() * S + random.below(S) : random.below(pool.replicas);
      const t = random.below(pool.replicas);
      const [g, h] = [Math.floor(s / S), Math.floor(t / S)];
      if (g === h || !pool.accepts(h, pool.slots[s]!, t) || !pool.accepts(g, pool.slots[t]!, s)) continue;
      this.#exchange(s, t);
    }
    if (!canMoveCounts) return;
    const expert = pool.slots[pool.hottest() * S + random.below(S)]!;
    const t = random.below(pool.replicas);
    const spare = pool.slots[t]!;
    if (spare === expert || pool.counts[spare]! < 2 || pool.counts[expert]! >= pool.gpus) return;
    if (pool.fixed[spare] === 1 || pool.fixed[expert] === 1 || !pool.accepts(Math.floor(t / S), expert, t))
      return;
    this.replace(t, expert);
  }

  /** Takes second replicas of an expert off a GPU wherever that keeps every GPU at or below the highest load. */
  spreadDuplicates(): void {
    const pool = this.#pool;
    this.#link();
    const limit = pool.maxLoad();
    for (let s = 0; s < pool.replicas; s++) {
      const g = Math.floor(s / pool.slotsPerGpu);
      const expert = pool.slots[s]!;
      if (!pool.holds(g, expert, s)) continue;
      if (!this.#swapOut(s, g, limit)) this.#replaceDuplicate(s, g, limit);
    }
  }

  #swapOut(s: number, g: number, limit: number): boolean {
    const pool = this.#pool;
    const { slots, sizes, loads, slotsPerGpu: S } = pool;
    const a = slots[s]!;
    for (let t = 0; t < pool.replicas; t++) {
      const h = Math.floor(t / S);
      const b = slots[t]!;
      const d = sizes[a]! - sizes[b]!;
      if (h === g || loads[g]! - d > limit || loads[h]! + d > limit) continue;
      if (!pool.accepts(h, a, -1) || !pool.accepts(g, b, -1)) continue;
      this.#exchange(s, t);
      if (loads[g]! <= limit && loads[h]! <= limit) return true;
      this.#exchange(s, t);
    }
    return false;
  }

  #replaceDuplicate(s: number, g: number, limit: number): void {
    const pool = this.#pool;
    const a = pool.slots[s]!;
    if (pool.fixed[a] === 1) return;
    for (let e = 0; e < pool.experts; e++) {
      if (e === a || pool.fixed[e] === 1 || pool.counts[e]! >= pool.gpus || !pool.accepts(g, e, -1)) continue;
      this.replace(s, e);
      if (pool.maxLoad() <= limit) return;
      this.replace(s, a);
    }
  }

  #link(): void {
    this.#firstSlot.fill(-1);
    for (let s = this.#pool.replicas - 1; s >= 0; s--) this.#add(this.#pool.slots[s]!, s);
  }

  #add(expert: number, slot: number): void {
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
