/** What a heap orders its slots by: whether slot `a` comes before slot `b`. */
export type Precedes = (a: number, b: number) => boolean;

/**
 * Many pairing heaps over one set of slots, each slot in at most one of them (Fredman, Sedgewick, Sleator, Tarjan 1986).
 * A heap is its root; insertion is O(1), removal O(log n) amortised. Nothing is allocated.
 */
export class PairingHeaps {
  readonly #precedes: Precedes;
  /** First child, next sibling, and previous sibling or, for a first child, the parent; -1 = none. */
  readonly #child: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;

  constructor(capacity: number, precedes: Precedes) {
    this.#precedes = precedes;
    this.#child = new Int32Array(capacity).fill(-1);
    this.#next = new Int32Array(capacity).fill(-1);
    this.#previous = new Int32Array(capacity).fill(-1);
  }

  /** Adds a slot to the heap of `root` (-1 = empty) and returns the new root. */
  insert(root: number, slot: number): number {
    this.#child[slot] = -1;
    this.#next[slot] = -1;
    this.#previous[slot] = -1;
    return root < 0 ? slot : this.#meld(root, slot);
  }

  /** Removes a slot from the heap of `root` and returns the new root, -1 if it is empty now. */
  remove(root: number, slot: number): number {
    const rest = this.#mergeChildren(slot);
    if (slot === root) return rest;
    const previous = this.#previous[slot]!;
    const next = this.#next[slot]!;
    if (this.#child[previous] === slot) this.#child[previous] = next;
    else this.#next[previous] = next;
    if (next >= 0) this.#previous[next] = previous;
    return rest < 0 ? root : this.#meld(root, rest);
  }

  #meld(a: number, b: number): number {
    const parent = this.#precedes(b, a) ? b : a;
    const child = parent === a ? b : a;
    const first = this.#child[parent]!;
    this.#next[child] = first;
    if (first >= 0) this.#previous[first] = child;
    this.#previous[child] = parent;
    this.#child[parent] = child;
    this.#next[parent] = -1;
    this.#previous[parent] = -1;
    return parent;
  }

  /** Pairs the children from left to right, then melds the pairs from right to left. */
  #mergeChildren(slot: number): number {
    let pairs = -1;
    let child = this.#child[slot]!;
    while (child >= 0) {
      const second = this.#next[child]!;
      const rest = second < 0 ? -1 : this.#next[second]!;
      this.#next[child] = -1;
      let merged = child;
      if (second >= 0) {
        this.#next[second] = -1;
        merged = this.#meld(child, second);
      }
      // The pairs form a list, last first, through `next`.
      this.#next[merged] = pairs;
      pairs = merged;
      child = rest;
    }
    if (pairs < 0) return -1;
    let root = pairs;
    let pair = this.#next[root]!;
    this.#next[root] = -1;
    this.#previous[root] = -1;
    while (pair >= 0) {
      const after = this.#next[pair]!;
      this.#next[pair] = -1;
      root = this.#meld(root, pair);
      pair = after;
    }
    return root;
  }
}
