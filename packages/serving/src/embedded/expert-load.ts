/** Tokens of each logical expert since the start, by layer with experts. */
export class ExpertLoad {
  readonly #rows: Float64Array[] = [];

  /** Adds what the gate of one layer has chosen. */
  add(row: number, counts: Int32Array): void {
    let sums = this.#rows[row];
    if (sums === undefined) {
      sums = new Float64Array(counts.length);
      this.#rows[row] = sums;
    }
    for (let expert = 0; expert < counts.length; expert++) sums[expert] = sums[expert]! + counts[expert]!;
  }

  /** `[layers with experts, experts]`, a copy; empty before the first step. */
  counts(): Float64Array {
    const experts = this.#rows[0]?.length ?? 0;
    const all = new Float64Array(this.#rows.length * experts);
    for (const [row, sums] of this.#rows.entries()) all.set(sums, row * experts);
    return all;
  }
}
