import type { CausalAttentionShape, LatentAttentionShape } from '../types.js';

/**
 * Absorbed multi-head latent attention of one query token over a paged latent cache (DeepSeek-V2, section 2.1):
 * out[h] = sum_t softmax_t(scale * q[h] . cache[t]) * cache[t][0 .. rank). Sums in float64.
 */
export function latentAttention(
  q: Float32Array,
  cache: Float32Array,
  blockTable: Int32Array,
  out: Float32Array,
  shape: LatentAttentionShape,
): void {
  const { heads, rank, ropeDims, contextLength, blockSize, scale } = shape;
  const width = rank + ropeDims;
  const qOffset = shape.qOffset ?? 0;
  const outOffset = shape.outOffset ?? 0;
  const tableOffset = shape.blockTableOffset ?? 0;
  const scores = new Float64Array(contextLength);
  const sums = new Float64Array(rank);
  const rowOf = (t: number): number =>
    (blockTable[tableOffset + Math.floor(t / blockSize)]! * blockSize + (t % blockSize)) * width;
  for (let h = 0; h < heads; h++) {
    for (let t = 0; t < contextLength; t++) {
      const row = rowOf(t);
      let dot = 0;
      for (let d = 0; d < width; d++) dot += q[qOffset + h * width + d]! * cache[row + d]!;
      scores[t] = dot * scale;
    }
    softmaxInPlace(scores, contextLength);
    sums.fill(0);
    for (let t = 0; t < contextLength; t++) {
      const row = rowOf(t);
      for (let d = 0; d < rank; d++) sums[d] = sums[d]! + scores[t]! * cache[row + d]!;
    }
    for (let d = 0; d < rank; d++) out[outOffset + h * rank + d] = sums[d]!;
  }
}

/** Causal attention with expanded keys and values: query i attends to keys 0 .. start + i. Sums in float64. */
export function causalAttention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  out: Float32Array,
  shape: CausalAttentionShape,
): void {
  const { m, heads, qkDims, vDims, start, scale } = shape;
  const qHead = shape.qHeadStride ?? qkDims;
  const kHead = shape.kHeadStride ?? qkDims;
  const vHead = shape.vHeadStride ?? vDims;
  const outHead = shape.outHeadStride ?? vDims;
  const qStride = shape.qStride ?? heads * qHead;
  const kStride = shape.kStride ?? heads * kHead;
  const vStride = shape.vStride ?? heads * vHead;
  const outStride = shape.outStride ?? heads * outHead;
  const scores = new Float64Array(start + m);
  const sums = new Float64Array(vDims);
  for (let i = 0; i < m; i++) {
    const length = start + i + 1;
    for (let h = 0; h < heads; h++) {
      for (let t = 0; t < length; t++) {
        let dot = 0;
        for (let d = 0; d < qkDims; d++)
          dot += q[i * qStride + h * qHead + d]! * k[t * kStride + h * kHead + d]!;
        scores[t] = dot * scale;
      }
      softmaxInPlace(scores, length);
      sums.fill(0);
      for (let t = 0; t < length; t++) {
        for (let d = 0; d < vDims; d++) sums[d] = sums[d]! + scores[t]! * v[t * vStride + h * vHead + d]!;
      }
      for (let d = 0; d < vDims; d++) out[i * outStride + h * outHead + d] = sums[d]!;
    }
  }
}

function softmaxInPlace(scores: Float64Array, length: number): void {
  let max = -Infinity;
  for (let t = 0; t < length; t++) max = Math.max(max, scores[t]!);
  let sum = 0;
  for (let t = 0; t < length; t++) {
    const e = Math.exp(scores[t]! - max);
    scores[t] = e;
    sum += e;
  }
  for (let t = 0; t < length; t++) scores[t] = scores[t]! / sum;
}
