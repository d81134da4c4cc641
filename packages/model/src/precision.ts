import type { WeightFormat } from '@moestack/kernels';
import { ModelError } from './errors.js';

/**
 * How the engine computes. `f32`: weights exactly as stored (FP8 expanded to float32), everything in float32.
 * `bf16`: weights and activations rounded to bfloat16, accumulation in float32. `fp8-weights`: projection weights stay
 * (or become) block-scaled E4M3, everything else float32. `w8a8`: the same weights, and the inputs of the quantised
 * GEMMs are quantised to E4M3 in 1x128 tiles too.
 */
export type Precision = 'f32' | 'bf16' | 'fp8-weights' | 'w8a8';

/** Which attention algorithm runs; `auto` takes, for each sequence of a step, the one with fewer multiplications. */
export type AttentionMode = 'auto' | 'naive' | 'absorbed';

/**
 * Where the activation scales of `w8a8` are rounded up to powers of two. `none`: nowhere. `reference`: where the
 * published DeepSeek-V3.1 code does (`q_a_proj`, `kv_a_proj_with_mqa`, routed experts). `everywhere`: in every
 * quantised GEMM, as serving engines do.
 */
export type W8A8Scale = 'none' | 'reference' | 'everywhere';

const PRECISIONS: readonly string[] = ['f32', 'bf16', 'fp8-weights', 'w8a8'];
const ATTENTION_MODES: readonly string[] = ['auto', 'naive', 'absorbed'];
const W8A8_SCALES: readonly string[] = ['none', 'reference', 'everywhere'];

/** What a tensor is for; decides how it is stored. */
export type TensorRole = 'projection' | 'router' | 'head' | 'embedding' | 'vector';

/** How a matrix of `role`, stored as `dtype`, is kept in memory. */
export function residentFormat(precision: Precision, role: TensorRole, dtype: string): WeightFormat {
  if (role === 'projection' && (precision === 'fp8-weights' || precision === 'w8a8')) return 'e4m3fn';
  if (precision === 'bf16') return 'bf16';
  if (dtype === 'BF16') return 'bf16';
  return 'f32';
}

/** Checks the options that come from callers without types. */
export function checkModes(precision: string, attention: string, w8a8Scale: string): void {
  requireOneOf('precision', precision, PRECISIONS);
  requireOneOf('attention', attention, ATTENTION_MODES);
  requireOneOf('w8a8Scale', w8a8Scale, W8A8_SCALES);
  if (precision === 'w8a8' && attention === 'naive') {
    throw new ModelError({
      code: 'model/unsupported-precision',
      message: "expected attention 'absorbed' or 'auto' with precision 'w8a8', got 'naive'",
      value: attention,
      remedy: 'leave attention out: w8a8 always runs the absorbed form, with kv_b_proj dequantised',
    });
  }
}

function requireOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new ModelError({
    code: 'model/bad-options',
    message: `expected ${allowed.join(', ')} for ${name}, got ${JSON.stringify(value)}`,
    value,
    remedy: `pass one of ${allowed.join(', ')}`,
  });
}
