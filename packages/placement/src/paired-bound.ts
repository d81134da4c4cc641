/** A dual value above rounding: terms are below 1e5. */
const REFUTED = 1e-6;
/** Relative width at which the bisection on the load ends. */
const WIDTH = 5e-4;
/** Multiplier updates before a load counts as not refuted. */
const ROUNDS = 100;
/** Replica counts of an expert that are weighed one by one, from the least possible on. */
const OPTIONS = 5;
/** Prices of a slot that single thresholds are tried with; all at least 1, the sum of their one multiplier. */
const MAX_Z = 8;
const SCANNED_Z = [1, 2, 3];

/**
 * A lower bound for pools of two slots a GPU. If a highest load T is possible, every replica of size >= s > T/2 has a
 * partner of size <= T - s of its own: for each s there are at least as many replicas of size <= T - s as of size >= s. Counts
 * are free but sum to the number of slots. T is refuted when the Lagrangian dual of these conditions is positive:
 *
 *   sum over experts of min over counts c of c (sum of y_s [w/c >= s] - sum of y_s [w/c <= T - s] + z)  -  z R  >  0
 *
 * for any y >= 0 and z. The multipliers come from subgradient steps; the largest T refuted is the bound.
 *
 * @param sorted - weights in descending order.
 * @param replicas - R, twice the number of GPUs.
 * @param low - a bound known already.
 */
export function pairedBound(sorted: Float64Array, replicas: number, low: number): number {
  const prover = new PairProver(sorted, replicas);
  let refuted = low;
  let open = low * 1.25;
  while (open - refuted > WIDTH * refuted) {
    const middle = (refuted + open) / 2;
    if (prover.refutes(middle)) refuted = middle;
    else open = middle;
  }
  return refuted;
}

class PairProver {
  readonly #weights: Float64Array;
  readonly #replicas: number;
  /** All sizes that an expert can have as one of its first options, ascending; thresholds are those in (T/2, T]. */
  readonly #sizes: Float64Array;
  /** Multipliers by size, kept from one load to the next. */
  readonly #y: Float64Array;
  #z = 1;
  readonly #scanned: Float64Array = new Float64Array(SCANNED_Z.length);
  readonly #prefix: Float64Array;
  readonly #balance: Float64Array;
  readonly #least: Int32Array;
  /** [experts, OPTIONS]: thresholds at most the size, and thresholds s with size <= T - s; both are prefixes. */
  readonly #above: Int32Array;
  readonly #below: Int32Array;

  constructor(weights: Float64Array, replicas: number) {
    this.#weights = weights;
    this.#replicas = replicas;
    const sizes = new Set<number>();
    const most = replicas - weights.length + 1;
    for (const weight of weights) {
      for (let c = 1; c <= Math.min(most, 4 * OPTIONS); c++) if (weight > 0) sizes.add(weight / c);
    }
    this.#sizes = Float64Array.from(sizes).sort();
    this.#y = new Float64Array(this.#sizes.length);
    this.#prefix = new Float64Array(this.#sizes.length + 1);
    this.#balance = new Float64Array(this.#sizes.length + 1);
    this.#least = new Int32Array(weights.length);
    this.#above = new Int32Array(weights.length * OPTIONS);
    this.#below = new Int32Array(weights.length * OPTIONS);
  }

  refutes(load: number): boolean {
    const first = lowerIndex(this.#sizes, load / 2);
    const m = lowerIndex(this.#sizes, load) - first;
    const most = this.#replicas - this.#weights.length + 1;
    if (m === 0 || !this.#classify(load, first, m, most)) return m > 0;
    const y = this.#y.subarray(first, first + m);
    const single = this.#scan(m, most);
    if (single < 0) return true;
    // One threshold alone does not refute: mix the best one with the multipliers of the last load.
    let sum = 0;
    for (let i = 0; i < m; i++) sum += y[i]!;
    for (let i = 0; i < m; i++) y[i] = sum > 0 ? (0.3 * y[i]!) / sum : 0.3 / m;
    y[single]! += 0.7;
    for (let round = 0; round < ROUNDS; round++) {
      const dual = this.#evaluate(y, m, most);
      if (dual > REFUTED) return true;
      if (!this.#step(y, m, dual)) return false;
    }
    return false;
  }

  /** Looks up thresholds for every option; false if an expert cannot be split finely enough. */
  #classify(load: number, first: number, m: number, most: number): boolean {
    // Rounding must never make a replica look too large for a partner it fits.
    const limit = load * (1 + 1e-12);
    for (let e = 0; e < this.#weights.length; e++) {
      const least = Math.max(1, Math.ceil(this.#weights[e]! / limit));
      if (least > most) return false;
      this.#least[e] = least;
      for (let k = 0; k < OPTIONS; k++) {
        const size = this.#weights[e]! / (least + k);
        const at = e * OPTIONS + k;
        this.#above[at] = Math.min(m, Math.max(0, lowerIndex(this.#sizes, size) - first));
        this.#below[at] =
          size * 2 > limit ? 0 : Math.min(m, Math.max(0, lowerIndex(this.#sizes, limit - size) - first));
      }
    }
    return true;
  }

  /** Tries every threshold alone with a few z; -1 when one refutes the load, else the one that comes nearest. */
  #scan(m: number, most: number): number {
    const duals = this.#scanned;
    let best = Number.NEGATIVE_INFINITY;
    let nearest = 0;
    for (let i = 0; i < m; i++) {
      for (let k = 0; k < SCANNED_Z.length; k++) duals[k] = -SCANNED_Z[k]! * this.#replicas;
      for (let e = 0; e < this.#weights.length; e++) this.#addSingle(e, i, most);
      for (let k = 0; k < SCANNED_Z.length; k++) {
        if (duals[k]! <= best) continue;
        best = duals[k]!;
        nearest = i;
        this.#z = SCANNED_Z[k]!;
      }
      if (best > REFUTED) return -1;
    }
    return nearest;
  }

  /** Adds an expert's least value to the dual of threshold i alone, for every z scanned. */
  #addSingle(e: number, i: number, most: number): void {
    const least = this.#least[e]!;
    const duals = this.#scanned;
    for (let k = 0; k < SCANNED_Z.length; k++) {
      const z = SCANNED_Z[k]!;
      let lowest = least + OPTIONS <= most ? (least + OPTIONS) * (z - 1) : Number.POSITIVE_INFINITY;
      for (let c = least, at = e * OPTIONS; c < least + OPTIONS && c <= most; c++, at++) {
        const value = c * ((i < this.#above[at]! ? 1 : 0) - (i < this.#below[at]! ? 1 : 0) + z);
        if (value < lowest) lowest = value;
      }
      duals[k]! += lowest;
    }
  }

  /** The dual value, and in `#balance` its slope at each threshold; the last entry is the slope in z. */
  #evaluate(y: Float64Array, m: number, most: number): number {
    const prefix = this.#prefix;
    const balance = this.#balance;
    for (let i = 0; i < m; i++) prefix[i + 1] = prefix[i]! + y[i]!;
    balance.fill(0, 0, m + 1);
    // z >= sum of y makes further splitting never pay, so the options listed are all that matter but for this tail.
    const z = Math.max(this.#z, prefix[m]!);
    this.#z = z;
    let dual = -z * this.#replicas;
    let used = -this.#replicas;
    for (let e = 0; e < this.#weights.length; e++) {
      const least = this.#least[e]!;
      let lowest = Number.POSITIVE_INFINITY;
      let choice = 0;
      for (let k = 0; k < OPTIONS && least + k <= most; k++) {
        const at = e * OPTIONS + k;
        const value = (least + k) * (prefix[this.#above[at]!]! - prefix[this.#below[at]!]! + z);
        if (value < lowest) {
          lowest = value;
          choice = k;
        }
      }
      if (least + OPTIONS <= most) lowest = Math.min(lowest, (least + OPTIONS) * (z - prefix[m]!));
      const count = least + choice;
      const at = e * OPTIONS + choice;
      dual += lowest;
      used += count;
      // Differences: slope i is the sum of entries above it.
      const above = this.#above[at]!;
      const below = this.#below[at]!;
      if (above > 0) balance[above - 1]! += count;
      if (below > 0) balance[below - 1]! -= count;
    }
    for (let i = m - 2; i >= 0; i--) balance[i]! += balance[i + 1]!;
    balance[m] = used;
    return dual;
  }

  /** Polyak's step towards a slightly positive dual value, then back to a sum of 1; false when the slope vanishes. */
  #step(y: Float64Array, m: number, dual: number): boolean {
    const balance = this.#balance;
    let norm = 0;
    for (let i = 0; i <= m; i++) norm += balance[i]! * balance[i]!;
    if (norm === 0) return false;
    const step = (0.5 - dual) / norm;
    let sum = 0;
    for (let i = 0; i < m; i++) {
      y[i] = Math.max(0, y[i]! + step * balance[i]!);
      sum += y[i]!;
    }
    this.#z += step * balance[m]!;
    if (sum === 0) {
      y.fill(1 / m);
      this.#z = 1;
      return true;
    }
    for (let i = 0; i < m; i++) y[i]! /= sum;
    // Any z is valid; a moderate one keeps the dual free of cancellation.
    this.#z = Math.min(this.#z / sum, MAX_Z);
    return true;
  }
}

/** The number of values at most `value` in an ascending list. */
function lowerIndex(ascending: Float64Array, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}
