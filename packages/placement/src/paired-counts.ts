import type { Pool } from './pool.js';

/** Experts tried to gain a replica, and to lose one, in every combination. */
const GAINERS = 16;
const LOSERS = 10;

/** How far below the reached maximum the next target lies, as a share of it. */
const FIRST_STEP = 0.04;
const LAST_STEP = 5e-4;
const STEP_RATIO = 2.5;

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
  readonly #gainers: Int32Array = new Int32Array(GAINERS);
  readonly #losers: Int32Array = new Int32Array(LOSERS);
  readonly #values: Float64Array = new Float64Array(GAINERS);

  constructor(pool: Pool) {
    this.#pool = pool;
    this.#order = new Int32Array(pool.experts);
    this.#sizes = new Float64Array(pool.experts + 2);
    this.#runs = new Int32Array(pool.experts + 2);
    this.#best = new Int32Array(pool.experts);
  }

  /** Chooses counts and packs; returns the highest load. */
  solve(lowerBound: number): number {
    const pool = this.#pool;
    this.#sort();
    let high = this.#foldedMax();
    this.#best.set(pool.counts);
    // Aim a little below what is reached; after a miss, less far.
    for (let step = FIRST_STEP; step >= LAST_STEP && high > lowerBound; ) {
      const target = Math.max(lowerBound, high * (1 - step));
      const hit = this.#reach(target);
      const reached = this.#foldedMax();
      if (reached < high) {
        high = reached;
        this.#best.set(pool.counts);
      }
      if (!hit) step /= STEP_RATIO;
      this.#restore(this.#best);
    }
    this.#pack();
    return pool.maxLoad();
  }

  #restore(counts: Int32Array): void {
    for (let e = 0; e < counts.length; e++) this.#pool.setCount(e, counts[e]!);
    this.#sort();
  }

  /**
   * Moves replicas while that lowers the excess over `target`; whether none is left. The experts to gain and to lose one
   * are ranked alone first, and only the best of both are tried together.
   */
  #reach(target: number): boolean {
    const { experts, counts, gpus, fixed } = this.#pool;
    let excess = this.#excess(-1, -1, target, Number.POSITIVE_INFINITY);
    for (let step = 4 * experts; step > 0 && excess > 0; step--) {
      const gainers = this.#rank(this.#gainers, (e) =>
        counts[e]! < gpus && fixed[e] === 0
          ? this.#excess(e, -1, target, Number.POSITIVE_INFINITY)
          : Number.POSITIVE_INFINITY,
      );
      const losers = this.#rank(this.#losers, (e) =>
        counts[e]! > 1 && fixed[e] === 0
          ? this.#excess(-1, e, target, Number.POSITIVE_INFINITY)
          : Number.POSITIVE_INFINITY,
      );
      let best = excess * (1 - 1e-6);
      let bestMore = -1;
      let bestLess = -1;
      for (let i = 0; i < gainers; i++) {
        for (let j = 0; j < losers; j++) {
          const more = this.#gainers[i]!;
          const less = this.#losers[j]!;
          if (more === less) continue;
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

  /** Fills `best` with the experts of lowest value, lowest first; returns how many have a finite one. */
  #rank(best: Int32Array, value: (expert: number) => number): number {
    let n = 0;
    for (let e = 0; e < this.#pool.experts; e++) {
      const v = value(e);
      if (v === Number.POSITIVE_INFINITY || (n === best.length && v >= this.#values[n - 1]!)) continue;
      let i = n < best.length ? n++ : n - 1;
      for (; i > 0 && this.#values[i - 1]! > v; i--) {
        this.#values[i] = this.#values[i - 1]!;
        best[i] = best[i - 1]!;
      }
      this.#values[i] = v;
      best[i] = e;
    }
    return n;
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
      const run = Math.min(left, right);
      if (over > 0) {
        sum += over * run;
        if (sum >= limit) return limit;
      }
      left -= run;
      right -= run;
      if (left === 0) left = runs[++i]!;
      if (right === 0) right = runs[--j]!;
    }
    if (i === j && Math.min(left, right) > 1) {
      const over = 2 * sizes[i]! - target;
      if (over > 0) sum += over;
    }
    return Math.min(sum, limit);
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
