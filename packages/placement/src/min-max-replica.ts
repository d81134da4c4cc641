/**
 * The smallest possible largest replica when `slots` replicas are shared out over experts with the given weights, each
 * having at least one: the largest expert is split again and again, which is optimal.
 */
export class MinMaxReplica {
  readonly #heap: Float64Array;
  readonly #weights: Float64Array;
  readonly #counts: Int32Array;

  constructor(experts: number) {
    this.#heap = new Float64Array(experts);
    this.#weights = new Float64Array(experts);
    this.#counts = new Int32Array(experts);
  }

  /** Over the first `n` values of `weights`. */
  of(weights: Float64Array, n: number, slots: number): number {
    for (let i = 0; i < n; i++) {
      this.#heap[i] = weights[i]!;
      this.#weights[i] = weights[i]!;
      this.#counts[i] = 1;
    }
    for (let i = (n >> 1) - 1; i >= 0; i--) this.#sift(i, n);
    for (let extra = slots - n; extra > 0; extra--) {
      this.#counts[0]!++;
      this.#heap[0] = this.#weights[0]! / this.#counts[0]!;
      this.#sift(0, n);
    }
    return this.#heap[0]!;
  }

  #sift(i: number, n: number): void {
    const heap = this.#heap;
    const weights = this.#weights;
    const counts = this.#counts;
    const key = heap[i]!;
    const weight = weights[i]!;
    const count = counts[i]!;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= n) break;
      if (child + 1 < n && heap[child + 1]! > heap[child]!) child++;
      if (heap[child]! <= key) break;
      heap[i] = heap[child]!;
      weights[i] = weights[child]!;
      counts[i] = counts[child]!;
      i = child;
    }
    heap[i] = key;
    weights[i] = weight;
    counts[i] = count;
  }
}
