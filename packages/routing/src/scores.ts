import { exp64 as exp } from '@moestack/kernels';
import { roundToBf16 } from './bf16.js';

/** Above this softplus(x) is x in float32; the published gates switch over at the same value. */
const SOFTPLUS_LINEAR_ABOVE = 20;

/** Writes the scores of the logits `logits[base .. base + scores.length)`, rounded to float32 by the store. */
export type ScoreRow = (logits: Float32Array, base: number, scores: Float32Array) => void;

/** sigmoid(x) = 1 / (1 + exp(-x)). */
export function sigmoidRow(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  for (let e = 0; e < experts; e++) scores[e] = 1 / (1 + exp(-logits[base + e]!));
}

/** softmax over the row, shifted by its maximum. */
export function softmaxRow(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  let max = logits[base]!;
  for (let e = 1; e < experts; e++) {
    const logit = logits[base + e]!;
    if (logit > max) max = logit;
  }
  let sum = 0;
  for (let e = 0; e < experts; e++) sum += exp(logits[base + e]! - max);
  for (let e = 0; e < experts; e++) scores[e] = exp(logits[base + e]! - max) / sum;
}

/** sqrt(log(1 + exp(x))), the scorer of later DeepSeek gates. */
export function sqrtSoftplusRow(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  for (let e = 0; e < experts; e++) {
    const logit = logits[base + e]!;
    scores[e] = Math.sqrt(logit > SOFTPLUS_LINEAR_ABOVE ? logit : Math.log1p(exp(logit)));
  }
}

/** {@link sigmoidRow} of logits and to results rounded to bfloat16. */
export function sigmoidRowBf16(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  for (let e = 0; e < experts; e++) {
    scores[e] = roundToBf16(1 / (1 + exp(-roundToBf16(logits[base + e]!))));
  }
}

/** {@link softmaxRow} of logits rounded to bfloat16; the scores stay float32, as in the published gates. */
export function softmaxRowBf16(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  for (let e = 0; e < experts; e++) scores[e] = roundToBf16(logits[base + e]!);
  softmaxRow(scores, 0, scores);
}

/** {@link sqrtSoftplusRow} of logits and to results rounded to bfloat16. */
export function sqrtSoftplusRowBf16(logits: Float32Array, base: number, scores: Float32Array): void {
  const experts = scores.length;
  for (let e = 0; e < experts; e++) scores[e] = roundToBf16(logits[base + e]!);
  sqrtSoftplusRow(scores, 0, scores);
  for (let e = 0; e < experts; e++) scores[e] = roundToBf16(scores[e]!);
}

/** The logits themselves, for a softmax that comes after the selection. */
export function logitRow(logits: Float32Array, base: number, scores: Float32Array): void {
  for (let e = 0; e < scores.length; e++) scores[e] = logits[base + e]!;
}

/** {@link logitRow} rounded to bfloat16. */
export function logitRowBf16(logits: Float32Array, base: number, scores: Float32Array): void {
  for (let e = 0; e < scores.length; e++) scores[e] = roundToBf16(logits[base + e]!);
}
