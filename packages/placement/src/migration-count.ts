import type { Sizes } from './operands.js';

/** Figures of replacing one layer's slots by others. */
export interface LayerMigration {
  /** Replicas that GPUs must receive; a move between slots of one GPU is free. */
  received: number;
  /** Highest number of replicas a GPU receives from its own node, and from others, where their time is longest. */
  stallSeconds: number;
}

/** Counts what GPUs must receive, by multisets of experts per GPU, with each source as near as one was. */
export class MigrationCounter {
  readonly #sizes: Sizes;
  readonly #had: Int32Array;
  readonly #nodeHas: Uint8Array;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#had = new Int32Array(sizes.experts);
    this.#nodeHas = new Uint8Array(sizes.experts);
  }

  /** Compares `before` with `after`, both [replicas] from `offset`; adds nothing to either. */
  count(
    before: Int32Array,
    after: Int32Array,
    offset: number,
    intraSeconds: number,
    interSeconds: number,
  ): LayerMigration {
    const { nodes, gpusPerNode, slotsPerGpu } = this.#sizes;
    let received = 0;
    let stallSeconds = 0;
    for (let node = 0; node < nodes; node++) {
      const nodeFirst = offset + node * gpusPerNode * slotsPerGpu;
      this.#nodeHas.fill(0);
      for (let s = 0; s < gpusPerNode * slotsPerGpu; s++) this.#nodeHas[before[nodeFirst + s]!] = 1;
      for (let gpu = 0; gpu < gpusPerNode; gpu++) {
        const first = nodeFirst + gpu * slotsPerGpu;
        for (let s = first; s < first + slotsPerGpu; s++) this.#had[before[s]!]!++;
        let seconds = 0;
        for (let s = first; s < first + slotsPerGpu; s++) {
          const e = after[s]!;
          if (this.#had[e]! > 0) {
            this.#had[e]!--;
            continue;
          }
          received++;
          seconds += this.#nodeHas[e] === 1 ? intraSeconds : interSeconds;
        }
        for (let s = first; s < first + slotsPerGpu; s++) this.#had[before[s]!] = 0;
        if (seconds > stallSeconds) stallSeconds = seconds;
      }
    }
    return { received, stallSeconds };
  }
}
