/** Which rank of a stage has which sequence: a new one goes to the rank with the fewest. */
export class RankAssignment {
  readonly #rankOf = new Map<number, number>();
  readonly #live: Int32Array;

  constructor(ranks: number) {
    this.#live = new Int32Array(ranks);
  }

  /** The rank of a sequence, which keeps it as long as it lives. */
  rankOf(id: number): number {
    const known = this.#rankOf.get(id);
    if (known !== undefined) return known;
    const rank = this.#live.indexOf(Math.min(...this.#live));
    this.assign(id, rank);
    return rank;
  }

  assign(id: number, rank: number): void {
    this.forget(id);
    this.#live[rank] = this.#live[rank]! + 1;
    this.#rankOf.set(id, rank);
  }

  /** Sequences of a rank. */
  loadOf(rank: number): number {
    return this.#live[rank]!;
  }

  forget(id: number): void {
    const rank = this.#rankOf.get(id);
    if (rank === undefined) return;
    this.#rankOf.delete(id);
    this.#live[rank] = this.#live[rank]! - 1;
  }
}
