import type { Checkpoint } from '@moestack/fp8';
import type { DeepseekConfig } from './config.js';
import { type AttentionMode, checkModes, type Precision, type W8A8Scale } from './precision.js';
import type { ModelRuntimeOptions } from './runtime-options.js';
import type { TensorSpec } from './tensor-plan.js';

/** How a runtime computes, with every default filled in. */
export interface Modes {
  readonly precision: Precision;
  readonly attention: AttentionMode;
  readonly w8a8Scale: W8A8Scale;
}

/** Fills in what `options` leave open from the configuration and the checkpoint. */
export async function resolveModes(
  options: ModelRuntimeOptions,
  config: DeepseekConfig,
  checkpoint: Checkpoint,
  plan: readonly TensorSpec[],
): Promise<Modes> {
  const quantized = plan.filter((spec) => checkpoint.info(spec.name).dtype === 'F8_E4M3');
  const precision = options.precision ?? (quantized.length > 0 ? 'fp8-weights' : 'f32');
  const attention = options.attention ?? 'auto';
  const w8a8Scale =
    options.w8a8Scale ?? (precision === 'w8a8' ? await defaultScale(config, checkpoint, quantized) : 'none');
  checkModes(precision, attention, w8a8Scale);
  return { precision, attention: precision === 'w8a8' ? 'absorbed' : attention, w8a8Scale };
}

/**
 * `scale_fmt` decides where the configuration describes the quantisation. Where it says nothing, the weights do: a
 * checkpoint whose block scales are all powers of two was made for power-of-two activation scales.
 */
async function defaultScale(
  config: DeepseekConfig,
  checkpoint: Checkpoint,
  quantized: readonly TensorSpec[],
): Promise<W8A8Scale> {
  const quantization = config.quantization_config;
  if (quantization !== null && quantization !== undefined) {
    return quantization.scale_fmt === 'ue8m0' ? 'reference' : 'none';
  }
  for (const { name } of quantized) {
    const scales = await checkpoint.readFloat32(`${name}_scale_inv`);
    if (!scales.every(isPowerOfTwo)) return 'none';
  }
  return quantized.length > 0 ? 'reference' : 'none';
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
