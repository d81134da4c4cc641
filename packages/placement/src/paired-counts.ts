import type { Pool } from './pool.js';

/**
 * Pools with two slots a GPU. For given counts the best packing is known: the largest replica goes with the smallest,
 * and so on inwards. What is left is the choice of counts, searched by moving replicas between experts while the
 * excess of the pairs over a target falls, with the target bisected down to the lower bound.
 */
export class PairedCounts {
  readonly #pool: Pool;
  /** Experts by replica size, descending. */
  readonly #order: Int32Array;
  /** The folded list of the move under evaluation. */
  readonly #sizes: Float64Array;
  readonly #runs: Int32Array;
  readonly #best: Int32Array;
  readonly #start: Int32Array;

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#order = new Int32Array(pool.experts);
    this.#sizes = new Float64Array(pool.experts + 2);
    this.#runs = new Int32Array(pool.experts + 2);
    this.#best = new Int32Array(pool.experts);
    this.#start = new Int32Array(pool.experts);
  }

  /** Chooses counts and packs; returns the highest load. */
  solve(lowerBound: number): number {
    const pool = this.#pool;
    let low = lowerBound;
    this.#sort();
    let high = this.#foldedMax();
    this.#best.set(pool.counts);
    for (let round = 0; round < 12 && high > low * (1 + 5e-4); round++) {
      const target = round === 0 ? low + 0.25 * (high - low) : (low + high) / 2;
      if (this.#reach(target)) {
        high = this.#foldedMax();
        this.#best.set(pool.counts);
      } else {
        const reached = this.#foldedMax();
        if (reached < high * (1 - 1e-9)) {
          high = reached;
          this.#best.set(pool.counts);
        }
        low = target;
      }
      this.#restore(this.#best);
    }
    this.#restore(this.#best);
    this.#pack();
    return pool.maxLoad();
  }

  #restore(counts: Int32Array): void {
    for (let e = 0; e < counts.length; e++) this.#pool.setCount(e, counts[e]!);
    this.#sort();
  }

  /** Moves replicas while that lowers the excess over `target`; whether none is left. */
  #reach(target: number): boolean {
    const { experts, counts, gpus } = this.#pool;
    let excess = this.#excess(-1, -1, target, Number.POSITIVE_INFINITY);
    this.#start.set(counts);
    for (let step = 0; step < 4 * experts && excess > 0; step++) {
      let best = excess * (1 - 1e-9);
      let bestMore = -1;
      let bestLess = -1;
      for (let less = 0; less < experts; less++) {
        if (counts[less]! < 2) continue;
        // Below half the target an expert's size blocks no pair: splitting it further only adds small replicas.
        for (let i = 0; i < experts; i++) {
          const more = this.#order[i]!;
          if (more === less || counts[more]! >= gpus) continue;
          const value = this.#excess(more, less, target, best);
          if (value < best) {
            best = value;
            bestMore = more;
            bestLess = less;
          }
        }
      }
      if (bestMore < 0) return false;
      this.#pool.setCount(bestMore, counts[bestMore]! + 1);
      this.#pool.setCount(bestLess, counts[bestLess]! - 1);
      this.#sort();
      excess = best;
    }
    return excess <= 0;
  }

  #sort(): void {
    const { sizes, experts } = this.#pool;
    const order = this.#order;
    for (let e = 0; e < experts; e++) order[e] = e;
    order.sort((a, b) => sizes[b]! - sizes[a]! || a - b);
  }

  /** Sum over folded pairs of what exceeds `target`, with one replica more for `more` and one less for `less`. */
  #excess(more: number, less: number, target: number, limit: number): number {
    const n = this.#list(more, less);
    const sizes = this.#sizes;
    const runs = this.#runs;
    let sum = 0;
    let i = 0;
    let j = n - 1;
    let left = runs[0]!;
    let right = runs[j]!;
    while (i < j) {
      const over = sizes[i]! + sizes[j]! - target;
      const run = left < right ? left : right;
      if (over > 0) {
        sum += over * run;
        if (sum >= limit) return limit;
      }
      left -= run;
      right -= run;
      if (left === 0) left = runs[++i]!;
      if (right === 0) right = runs[--j]!;
    }
    if (i === j && (left < right ? left : right) > 1) {
      const over = 2 * sizes[i]! - target;
      if (over > 0) sum += over;
    }
    return sum < limit ? sum : limit;
  }

  /** Writes sizes (descending) and run lengths of the list after the move; returns its length. */
  #list(more: number, less: number): number {
    const { experts, counts, weights, sizes } = this.#pool;
    const moreSize = more < 0 ? -1 : weights[more]! / (counts[more]! + 1);
    const lessSize = less < 0 ? -1 : weights[less]! / (counts[less]! - 1);
    let pendingMore = more >= 0;
    let pendingLess = less >= 0;
    let n = 0;
    for (let k = 0; k < experts; k++) {
      const e = this.#order[k]!;
      if (e === more || e === less) continue;
      const size = sizes[e]!;
      if (pendingLess && lessSize >= size) {
        if (pendingMore && moreSize > lessSize) {
          this.#push(n++, moreSize, counts[more]! + 1);
          pendingMore = false;
        }
        this.#push(n++, lessSize, counts[less]! - 1);
        pendingLess = false;
      }
      if (pendingMore && moreSize >= size) {
        this.#push(n++, moreSize, counts[more]! + 1);
        pendingMore = false;
      }
      this.#push(n++, size, counts[e]!);
    }
    if (pendingLess && (!pendingMore || lessSize >= moreSize)) {
      this.#push(n++, lessSize, counts[less]! - 1);
      pendingLess = false;
    }
    if (pendingMore) this.#push(n++, moreSize, counts[more]! + 1);
    if (pendingLess) this.#push(n++, lessSize, counts[less]! - 1);
    return n;
  }

  #push(n: number, size: number, run: number): void {
    this.#sizes[n] = size;
    this.#runs[n] = run;
  }

  #foldedMax(): number {
    const { sizes, counts, experts } = this.#pool;
    const order = this.#order;
    let max = 0;
    let i = 0;
    let j = experts - 1;
    let left = counts[order[0]!]!;
    let right = counts[order[j]!]!;
    while (i < j) {
      max = Math.max(max, sizes[order[i]!]! + sizes[order[j]!]!);
      const run = Math.min(left, right);
      left -= run;
      right -= run;
      if (left === 0) left = counts[order[++i]!]!;
      if (right === 0) right = counts[order[--j]!]!;
    }
    if (i === j && Math.min(left, right) > 1) max = Math.max(max, 2 * sizes[order[i]!]!);
    return max;
  }

  /** Folds the list into GPUs. */
  #pack(): void {
    const { experts, replicas, counts, slots } = this.#pool;
    let rank = 0;
    for (let k = 0; k < experts; k++) {
      const e = this.#order[k]!;
      for (let c = counts[e]!; c > 0; c--, rank++) {
        slots[rank < this.#pool.gpus ? rank * 2 : (replicas - 1 - rank) * 2 + 1] = e;
      }
    }
    this.#pool.sumLoads();
  }
}
