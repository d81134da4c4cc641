/** -sum p ln p over the k most probable tokens of a row, as GLTR shows it: without renormalising. */
export class TopEntropy {
  readonly #best: Float32Array;

  constructor(k: number) {
    this.#best = new Float32Array(k);
  }

  of(logits: Float32Array, maximum: number, logNormalizer: number, temperature: number): number {
    const best = this.#best;
    const last = best.length - 1;
    best.fill(-Infinity);
    // Insertion into a short descending list; almost all logits fail the first comparison.
    for (let v = 0; v < logits.length; v++) {
      const value = logits[v]!;
      if (!(value > best[last]!)) continue;
      let at = last;
      while (at > 0 && best[at - 1]! < value) {
        best[at] = best[at - 1]!;
        at--;
      }
      best[at] = value;
    }
    let entropy = 0;
    for (let i = 0; i <= last; i++) {
      if (best[i] === -Infinity) continue;
      const logProb = (best[i]! - maximum) / temperature - logNormalizer;
      entropy -= Math.exp(logProb) * logProb;
    }
    return entropy;
  }
}
