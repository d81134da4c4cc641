/** Scores of one row of logits; reused, so that scoring a token allocates nothing. */
export interface RowScore {
  /** log of the sum of exp(logit). */
  logNormaliser: number;
  /** The most likely token, the smallest id of several. */
  best: number;
}

/** Normaliser and best token of row `row` of `logits` `[rows, vocabulary]`, in double. */
export function scoreRow(logits: Float32Array, row: number, vocabulary: number, out: RowScore): void {
  const start = row * vocabulary;
  let best = 0;
  let largest = logits[start]!;
  for (let token = 1; token < vocabulary; token++) {
    const logit = logits[start + token]!;
    if (logit > largest) {
      largest = logit;
      best = token;
    }
  }
  let sum = 0;
  for (let token = 0; token < vocabulary; token++) sum += Math.exp(logits[start + token]! - largest);
  out.logNormaliser = largest + Math.log(sum);
  out.best = best;
}

/**
 * Kullback-Leibler divergence of two rows in nats: sum of p * (log p - log q) over the vocabulary.
 *
 * @param p - logits of the distribution that is taken as true.
 */
export function klDivergence(
  p: Float32Array,
  q: Float32Array,
  row: number,
  vocabulary: number,
  pScore: RowScore,
  qScore: RowScore,
): number {
  const start = row * vocabulary;
  let sum = 0;
  for (let token = 0; token < vocabulary; token++) {
    const logP = p[start + token]! - pScore.logNormaliser;
    const logQ = q[start + token]! - qScore.logNormaliser;
    sum += Math.exp(logP) * (logP - logQ);
  }
  // Rounding can leave a hair below zero where both are the same.
  return Math.max(sum, 0);
}
