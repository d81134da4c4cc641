import { exp64 as exp } from '@moestack/kernels';
import { roundToBf16 } from './bf16.js';

/** Writes the weights of one token from its scores [E] and chosen experts; an id of -1 gets weight 0. */
export type WeighRow = (
  scores: Float32Array,
  indices: Int32Array,
  offset: number,
  topK: number,
  normalize: boolean,
  scale: number,
  weights: Float32Array,
) => void;

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
  const divisor = normalize ? sumChosen(scores, indices, offset, topK) : 1;
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    weights[offset + k] = expert < 0 ? 0 : Math.fround(scores[expert]! / divisor) * scale;
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
  const divisor = normalize ? roundToBf16(sumChosen(scores, indices, offset, topK)) : 1;
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    weights[offset + k] = expert < 0 ? 0 : roundToBf16(roundToBf16(scores[expert]! / divisor) * scale);
  }
}

/** Softmax over the chosen logits, which is what `scores` holds, times `scale`; it sums to 1 with or without normalisation. */
export function weighRowSoftmax(
  logits: Float32Array,
  indices: Int32Array,
  offset: number,
  topK: number,
  _normalize: boolean,
  scale: number,
  weights: Float32Array,
): void {
  let max = Number.NEGATIVE_INFINITY;
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    if (expert >= 0 && logits[expert]! > max) max = logits[expert]!;
  }
  let sum = 0;
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    if (expert >= 0) sum += exp(logits[expert]! - max);
  }
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    weights[offset + k] = expert < 0 ? 0 : Math.fround(exp(logits[expert]! - max) / sum) * scale;
  }
}

/** {@link weighRowSoftmax} with the softmax and the products rounded to bfloat16. */
export function weighRowSoftmaxBf16(
  logits: Float32Array,
  indices: Int32Array,
  offset: number,
  topK: number,
  normalize: boolean,
  scale: number,
  weights: Float32Array,
): void {
  weighRowSoftmax(logits, indices, offset, topK, normalize, 1, weights);
  for (let k = offset; k < offset + topK; k++) weights[k] = roundToBf16(roundToBf16(weights[k]!) * scale);
}

function sumChosen(scores: Float32Array, indices: Int32Array, offset: number, topK: number): number {
  let sum = SUM_FLOOR;
  for (let k = 0; k < topK; k++) {
    const expert = indices[offset + k]!;
    if (expert >= 0) sum += scores[expert]!;
  }
  return sum;
}
