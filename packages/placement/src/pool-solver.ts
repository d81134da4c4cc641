import { PairedCounts } from './paired-counts.js';
import { Pool } from './pool.js';
import { PoolSearch } from './pool-search.js';
import { SeededRandom } from './random.js';

/** Searches from a kicked plan before the best one is taken; each costs a fraction of the first. */
const KICKS = 24;

/** Solves packing problems of one shape with reused memory. */
export class PoolSolver {
  readonly pool: Pool;
  readonly #best: Pool;
  readonly #search: PoolSearch;
  readonly #paired: PairedCounts | undefined;

  constructor(experts: number, gpus: number, slotsPerGpu: number) {
    this.pool = new Pool(experts, gpus, slotsPerGpu);
    this.#best = new Pool(experts, gpus, slotsPerGpu);
    this.#search = new PoolSearch(this.pool);
    this.#paired = slotsPerGpu === 2 ? new PairedCounts(this.pool) : undefined;
  }

  /**
   * Plans for the weights, minima and fixed experts set on the pool; returns the highest load.
   *
   * @param target - a load that is good enough.
   */
  solve(target: number): number {
    const { pool } = this;
    pool.replicate();
    if (this.#paired !== undefined) {
      this.#paired.solve(target);
    } else {
      pool.pack();
      if (pool.slotsPerGpu > 1) this.#searchOn(target, KICKS);
    }
    this.#search.spreadDuplicates();
    return pool.maxLoad();
  }

  /** Improves the plan that is already on the pool, without ever raising its highest load. */
  improve(target: number, kicks: number = KICKS): number {
    if (this.pool.slotsPerGpu > 1) this.#searchOn(target, kicks);
    this.#search.spreadDuplicates();
    return this.pool.maxLoad();
  }

  #searchOn(target: number, kicks: number): void {
    const { pool } = this;
    const best = this.#best;
    let reached = this.#search.improve(target, true);
    best.copyFrom(pool);
    // The same pool gives the same plan: the sequence starts anew for each.
    const random = new SeededRandom(1);
    for (let kick = 0; kick < kicks && reached > target; kick++) {
      this.#search.kick(random, true);
      const load = this.#search.improve(target, true);
      if (load < reached) {
        reached = load;
        best.copyFrom(pool);
      } else {
        pool.copyFrom(best);
      }
    }
    pool.copyFrom(best);
  }
}
