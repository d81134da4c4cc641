/**
 * Ranks each group of consecutive experts by its best biased score, or by the float32 sum of its two best.
 *
 * @param biased - biased scores [E].
 * @param groupScores - receives one score per group [G].
 */
export function scoreGroups(biased: Float32Array, groupScores: Float32Array, top2Sum: boolean): void {
  const groups = groupScores.length;
  const size = biased.length / groups;
  for (let g = 0, e = 0; g < groups; g++) {
    let first = biased[e++]!;
    if (top2Sum) {
      let second = Number.NEGATIVE_INFINITY;
      for (const end = (g + 1) * size; e < end; e++) {
        const score = biased[e]!;
        if (score > first) {
          second = first;
          first = score;
        } else if (score > second) second = score;
      }
      groupScores[g] = first + second;
    } else {
      for (const end = (g + 1) * size; e < end; e++) {
        const score = biased[e]!;
        if (score > first) first = score;
      }
      groupScores[g] = first;
    }
  }
}

/**
 * Merges candidates `scores[from .. to)` into a list of the `limit` best so far, best first, and returns its new length.
 *
 * Ties keep the candidate that came first, so ranges offered in ascending order give "value descending, then lowest index".
 *
 * @param best - scores of the list [limit].
 * @param indices - receives the candidates' indices at `offset .. offset + limit`.
 * @param length - entries of the list that are filled.
 */
export function selectTop(
  scores: Float32Array | Float64Array,
  from: number,
  to: number,
  best: Float32Array | Float64Array,
  indices: Int32Array,
  offset: number,
  limit: number,
  length: number,
): number {
  const last = limit - 1;
  for (let i = from; i < to; i++) {
    const score = scores[i]!;
    let slot = length;
    if (length === limit) {
      if (!(score > best[last]!)) continue;
      slot = last;
    } else length++;
    while (slot > 0 && score > best[slot - 1]!) {
      best[slot] = best[slot - 1]!;
      indices[offset + slot] = indices[offset + slot - 1]!;
      slot--;
    }
    best[slot] = score;
    indices[offset + slot] = i;
  }
  return length;
}
