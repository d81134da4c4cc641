import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { quantize, type Scheme, serializeSafetensors, type TensorDescription } from '@moestack/fp8';
import type { TrainConfig } from '@moestack/schemas';
import type { Trainer } from './trainer.js';

/** Options of {@link exportModel}. */
export interface ExportOptions {
  /** `fp8` (default): projections as E4M3 in 128x128 blocks, the rest bfloat16; `bf16`, `f32`: everything so. */
  readonly format?: 'fp8' | 'bf16' | 'f32';
  /** Longest sequence that config.json names. Default: the training context. */
  readonly maximumPositions?: number;
  /** Token that ends a generation. */
  readonly endOfSequenceId?: number;
}

type Tensor = TensorDescription & { readonly data: ArrayBufferView };

const BLOCK = [128, 128] as const;

/**
 * Writes the model as a Hugging Face directory (config.json, model.safetensors), each file whole or not at all. The tokenizer
 * is the caller's to add. `loadModel` of `@moestack/model` reads it, as do engines that read DeepSeek-V3 checkpoints.
 */
export async function exportModel(
  trainer: Pick<Trainer, 'config' | 'plan' | 'weights' | 'biases'>,
  directory: string,
  options: ExportOptions = {},
): Promise<void> {
  const { format = 'fp8' } = options;
  const tensors: Tensor[] = [];
  for (const { name, kind, rows, cols, offset } of trainer.plan.parameters) {
    const values = trainer.weights.subarray(offset, offset + rows * cols);
    const shape = kind === 'norm' ? [cols] : [rows, cols];
    if (kind === 'projection' && format === 'fp8') {
      const scheme: Scheme = { kind: 'tile', tile: [BLOCK[0], BLOCK[1]], format: 'e4m3fn' };
      const { codes, scales } = quantize(values, [rows, cols], scheme);
      tensors.push({ name, dtype: 'F8_E4M3', shape, data: codes });
      const blocks = [Math.ceil(rows / BLOCK[0]), Math.ceil(cols / BLOCK[1])];
      tensors.push({ name: `${name}_scale_inv`, dtype: 'F32', shape: blocks, data: scales });
    } else if (format === 'f32') tensors.push({ name, dtype: 'F32', shape, data: values.slice() });
    else tensors.push({ name, dtype: 'BF16', shape, data: bf16Codes(values) });
  }
  const { model } = trainer.config;
  trainer.biases.forEach((bias, i) => {
    const name = `model.layers.${model.denseLayers + i}.mlp.gate.e_score_correction_bias`;
    tensors.push({ name, dtype: 'F32', shape: [model.experts], data: bias.slice() });
  });
  await mkdir(directory, { recursive: true });
  await writeWhole(join(directory, 'model.safetensors'), serializeSafetensors(tensors));
  const json = `${JSON.stringify(configJson(trainer.config, options), undefined, 2)}\n`;
  await writeWhole(join(directory, 'config.json'), new TextEncoder().encode(json));
}

function configJson({ model, contextTokens }: TrainConfig, options: ExportOptions): Record<string, unknown> {
  const { format = 'fp8' } = options;
  return {
    architectures: ['DeepseekV3ForCausalLM'],
    model_type: 'deepseek_v3',
    vocab_size: model.vocabularySize,
    hidden_size: model.hiddenSize,
    intermediate_size: model.denseWidth,
    moe_intermediate_size: model.expertWidth,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.heads,
    n_shared_experts: model.sharedExperts,
    n_routed_experts: model.experts,
    routed_scaling_factor: model.routedScalingFactor,
    kv_lora_rank: model.keyValueRank,
    q_lora_rank: model.queryRank === 0 ? null : model.queryRank,
    qk_rope_head_dim: model.ropeDims,
    v_head_dim: model.valueDims,
    qk_nope_head_dim: model.nopeDims,
    topk_method: 'noaux_tc',
    n_group: model.groups,
    topk_group: model.topKGroups,
    num_experts_per_tok: model.topK,
    moe_layer_freq: 1,
    first_k_dense_replace: model.denseLayers,
    norm_topk_prob: true,
    scoring_func: 'sigmoid',
    hidden_act: 'silu',
    max_position_embeddings: options.maximumPositions ?? contextTokens,
    rms_norm_eps: model.epsilon,
    rope_theta: model.ropeTheta,
    rope_scaling: null,
    rope_interleave: true,
    attention_bias: false,
    tie_word_embeddings: false,
    bos_token_id: null,
    eos_token_id: options.endOfSequenceId ?? null,
    torch_dtype: format === 'f32' ? 'float32' : 'bfloat16',
    ...(format === 'fp8'
      ? {
          quantization_config: {
            activation_scheme: 'dynamic',
            fmt: 'e4m3',
            quant_method: 'fp8',
            weight_block_size: BLOCK,
          },
        }
      : {}),
  };
}

/** Upper halves, ties to even; weights are finite. */
function bf16Codes(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(words.length);
  for (let i = 0; i < codes.length; i++) {
    const word = words[i]!;
    codes[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return codes;
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.partial`;
  try {
    await writeFile(partial, bytes, { flush: true });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
