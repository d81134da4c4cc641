import { roundToBf16 } from './bf16.js';

/** Keeps 0/0 away when every chosen score underflowed; invisible in float32 next to any other sum. */
const SUM_FLOOR = 1e-20;

/** Weights of one token in float32: chosen unbiased scores, over their sum if asked, times `scale`. */
export function weighRow(
  scores: Float32Array,
  indices: Int32Array,
  offset: number,
  topK: number,
  normalize: boolean,
  scale: number,
  weights: Float32Array,
): void {
  let divisor = 1;
  if (normalize) {
    divisor = SUM_FLOOR;
    for (let k = 0; k < topK; k++) divisor += scores[indices[offset + k]!]!;
  }
  for (let k = 0; k < topK; k++) {
    weights[offset + k] = Math.fround(scores[indices[offset + k]!]! / divisor) * scale;
  }
}

/** {@link weighRow} with the sum, the quotients and the products rounded to bfloat16, one operation after the other. */
export function weighRowBf16(
  scores: Float32Array,
  indices: Int32Array,
  offset: number,
  topK: number,
  normalize: boolean,
  scale: number,
  weights: Float32Array,
): void {
  let divisor = 1;
  if (normalize) {
    divisor = SUM_FLOOR;
    for (let k = 0; k < topK; k++) divisor += scores[indices[offset + k]!]!;
    divisor = roundToBf16(divisor);
  }
  for (let k = 0; k < topK; k++) {
    const score = scores[indices[offset + k]!]!;
    weights[offset + k] = roundToBf16(roundToBf16(score / divisor) * scale);
  }
}
