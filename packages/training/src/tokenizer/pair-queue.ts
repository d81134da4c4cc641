/** A pair of neighbouring tokens, as one number. */
export function pairKey(left: number, right: number): number {
  return left * 65_536 + right;
}

/**
 * Pairs by their count, the most frequent first, the smaller key among equals. Counts that change are pushed again;
 * what is out of date is passed over when it comes up.
 */
export class PairQueue {
  readonly #keys: number[] = [];
  readonly #counts: number[] = [];

  get size(): number {
    return this.#keys.length;
  }

  push(key: number, count: number): void {
    const keys = this.#keys;
    const counts = this.#counts;
    let at = keys.length;
    keys.push(key);
    counts.push(count);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(count, key, counts[parent]!, keys[parent]!)) break;
      keys[at] = keys[parent]!;
      counts[at] = counts[parent]!;
      at = parent;
    }
    keys[at] = key;
    counts[at] = count;
  }

  /** Takes the first pair whose count is still what `current` says; undefined where none is left. */
  pop(current: (key: number) => number): { key: number; count: number } | undefined {
    while (this.#keys.length > 0) {
      const key = this.#keys[0]!;
      const count = this.#counts[0]!;
      this.#removeFirst();
      if (current(key) === count) return { key, count };
    }
    return undefined;
  }

  #removeFirst(): void {
    const keys = this.#keys;
    const counts = this.#counts;
    const key = keys.pop()!;
    const count = counts.pop()!;
    const size = keys.length;
    if (size === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && before(counts[child + 1]!, keys[child + 1]!, counts[child]!, keys[child]!))
        child++;
      if (!before(counts[child]!, keys[child]!, count, key)) break;
      keys[at] = keys[child]!;
      counts[at] = counts[child]!;
      at = child;
    }
    keys[at] = key;
    counts[at] = count;
  }
}

function before(count: number, key: number, otherCount: number, otherKey: number): boolean {
  return count > otherCount || (count === otherCount && key < otherKey);
}
