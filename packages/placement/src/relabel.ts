import { assign } from './assignment.js';
import type { Sizes } from './operands.js';

/**
 * Renumbers nodes and GPUs of a layer so that as many replicas as possible stay where they were, then puts every
 * replica that stays on its GPU back into its old slot: load and locality stay the same, and less has to move.
 */
export class Relabeller {
  readonly #sizes: Sizes;
  readonly #scratch: Int32Array;
  readonly #had: Int32Array;
  readonly #mayMoveNodes: boolean;

  /** @param mayMoveNodes - false keeps every GPU's content on its node. */
  constructor(sizes: Sizes, mayMoveNodes: boolean) {
    this.#sizes = sizes;
    this.#scratch = new Int32Array(sizes.replicas);
    this.#had = new Int32Array(sizes.experts);
    this.#mayMoveNodes = mayMoveNodes;
  }

  /** Rearranges `after` to resemble `before`, both [replicas] from `offset`. */
  relabel(before: Int32Array, after: Int32Array, offset: number): void {
    const { nodes, gpusPerNode, slotsPerGpu, replicas } = this.#sizes;
    if (this.#mayMoveNodes && nodes > 1) {
      this.#permute(before, after, offset, nodes, replicas / nodes);
    }
    for (let node = 0; node < nodes; node++) {
      this.#permute(before, after, offset + (node * replicas) / nodes, gpusPerNode, slotsPerGpu);
    }
    preserveSlots(before, after, offset, this.#sizes);
  }

  /** Permutes `parts` consecutive parts of `size` slots for the greatest overlap. */
  #permute(before: Int32Array, after: Int32Array, first: number, parts: number, size: number): void {
    const overlap = new Int32Array(parts * parts);
    for (let i = 0; i < parts; i++) {
      for (let j = 0; j < parts; j++) {
        for (let s = 0; s < size; s++) this.#had[before[first + j * size + s]!]!++;
        let common = 0;
        for (let s = 0; s < size; s++) {
          const e = after[first + i * size + s]!;
          if (this.#had[e]! > 0) {
            this.#had[e]!--;
            common++;
          }
        }
        for (let s = 0; s < size; s++) this.#had[before[first + j * size + s]!] = 0;
        overlap[i * parts + j] = common;
      }
    }
    const target = assign(overlap, parts);
    const scratch = this.#scratch;
    for (let i = 0; i < parts * size; i++) scratch[i] = after[first + i]!;
    for (let i = 0; i < parts; i++) {
      for (let s = 0; s < size; s++) after[first + target[i]! * size + s] = scratch[i * size + s]!;
    }
  }
}

/**
 * Puts experts that stay on a GPU back into their old slots, first match in slot order; the others fill the free slots
 * in ascending order.
 *
 * @param before - slots of the old plan, [replicas] from `offset`.
 * @param after - slots of the new plan; rearranged within each GPU.
 */
export function preserveSlots(
  before: Int32Array,
  after: Int32Array,
  offset: number,
  sizes: { gpus: number; slotsPerGpu: number },
): void {
  const { gpus, slotsPerGpu } = sizes;
  const incoming = new Int32Array(slotsPerGpu);
  const placed = new Uint8Array(slotsPerGpu);
  for (let gpu = 0; gpu < gpus; gpu++) {
    const first = offset + gpu * slotsPerGpu;
    for (let s = 0; s < slotsPerGpu; s++) {
      incoming[s] = after[first + s]!;
      after[first + s] = -1;
    }
    placed.fill(0);
    for (let s = 0; s < slotsPerGpu; s++) {
      for (let t = 0; t < slotsPerGpu; t++) {
        if (placed[t] === 1 || incoming[t] !== before[first + s]) continue;
        after[first + s] = incoming[t]!;
        placed[t] = 1;
        break;
      }
    }
    let free = 0;
    for (let t = 0; t < slotsPerGpu; t++) {
      if (placed[t] === 1) continue;
      while (after[first + free] !== -1) free++;
      after[first + free] = incoming[t]!;
    }
  }
}
