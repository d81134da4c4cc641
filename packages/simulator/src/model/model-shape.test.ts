import { describe, expect, it } from 'vitest';
import { SimulatorError } from '../errors.js';
import { Accelerator } from '../hardware/accelerator.js';
import { accelerators } from '../hardware/presets.js';
import { deepSeekV3, ModelShape, modelShapeFromConfig } from './model-shape.js';

const config = {
  model_type: 'deepseek_v3',
  num_hidden_layers: 61,
  first_k_dense_replace: 3,
  hidden_size: 7168,
  num_attention_heads: 128,
  vocab_size: 129_280,
  q_lora_rank: 1536,
  kv_lora_rank: 512,
  qk_nope_head_dim: 128,
  qk_rope_head_dim: 64,
  v_head_dim: 128,
  intermediate_size: 18_432,
  moe_intermediate_size: 2048,
  n_routed_experts: 256,
  num_experts_per_tok: 8,
  n_shared_experts: 1,
  n_group: 8,
  topk_group: 4,
  num_nextn_predict_layers: 1,
  tie_word_embeddings: false,
  rope_scaling: { factor: 40 },
};

describe('modelShapeFromConfig', () => {
  it("reads DeepSeek-V3's sizes and passes unknown fields by", () => {
    expect(modelShapeFromConfig(config, 'DeepSeek-V3')).toEqual(deepSeekV3);
  });

  it.each([
    ['num_hidden_layers', { ...config, num_hidden_layers: undefined }],
    ['kv_lora_rank', { ...config, kv_lora_rank: 0 }],
    ['topK', { ...config, num_experts_per_tok: 300 }],
    ['configuration', 'text'],
    ['denseLayers', { ...config, first_k_dense_replace: 62 }],
  ])('names %s when it is wrong', (name, wrong) => {
    let caught: unknown;
    try {
      modelShapeFromConfig(wrong);
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught)).toBe(true);
    expect((caught as SimulatorError).code).toBe('simulator/bad-config');
    expect((caught as SimulatorError).message).toContain(name);
  });
});

describe('presets', () => {
  it('satisfy their schemas', () => {
    expect(ModelShape.parse(deepSeekV3)).toEqual(deepSeekV3);
    for (const accelerator of Object.values(accelerators)) {
      expect(Accelerator.parse(accelerator)).toEqual(accelerator);
    }
  });

  it('say that the H800 is derived, with NVLink at 160 GB/s', () => {
    expect(accelerators.h800.nvlink.bytesPerSecond).toBe(160e9);
    expect(accelerators.h800.sources.join(' ')).toContain('derived from H100');
  });
});
