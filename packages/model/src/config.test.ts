import { readFixtureJson } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config.js';
import { dimensionsOf, isMoeLayer, routerConfigOf } from './dimensions.js';
import { ModelError } from './errors.js';

const v3 = readFixtureJson<Record<string, unknown>>('routing-model/tiny-v3/config.json');
const v2 = readFixtureJson<Record<string, unknown>>('routing-model/tiny-v2-lite/config.json');

function errorOf(json: unknown): ModelError {
  try {
    parseConfig(json);
  } catch (error) {
    if (ModelError.isInstance(error)) return error;
    throw error;
  }
  throw new Error('expected an error');
}

describe('parseConfig', () => {
  it('keeps fields it does not know', () => {
    expect(parseConfig({ ...v3, invented: { deep: 1 } })['invented']).toEqual({ deep: 1 });
  });

  it.each([
    ['model_type', 'llama'],
    ['architectures', ['LlamaForCausalLM']],
    ['hidden_act', 'gelu'],
    ['attention_bias', true],
    ['topk_method', 'random'],
    ['scoring_func', 'tanh'],
    ['num_experts_per_tok', 9],
    ['num_experts_per_tok', 17],
    ['num_experts_per_tok', null],
    ['moe_intermediate_size', null],
    ['n_group', 3],
    ['n_group', 16],
    ['topk_group', 5],
    ['qk_rope_head_dim', 15],
    ['rope_scaling', { type: 'linear', factor: 2 }],
    ['rope_scaling', { type: 'yarn', original_max_position_embeddings: 32 }],
    ['rope_scaling', { type: 'yarn', factor: 2 }],
    ['quantization_config', { quant_method: 'awq' }],
    ['quantization_config', { quant_method: 'fp8', fmt: 'e5m2', weight_block_size: [128, 128] }],
    ['quantization_config', { quant_method: 'fp8', weight_block_size: [64, 64] }],
  ])('refuses %s = %j as unsupported, naming the field', (field, value) => {
    const error = errorOf({ ...v3, [field]: value });
    expect(error.code).toBe('model/unsupported-config');
    expect(error.message).toContain(field);
    expect(error.remedy).not.toBe('');
  });

  it.each([
    ['hidden_size', 0],
    ['hidden_size', 1e9],
    ['num_hidden_layers', 2.5],
    ['vocab_size', '320'],
    ['kv_lora_rank', null],
    ['n_routed_experts', -1],
    ['rms_norm_eps', 0],
  ])('refuses %s = %j as malformed, with the value', (field, value) => {
    const error = errorOf({ ...v3, [field]: value });
    expect(error.code).toBe('model/bad-config');
    expect(error.message).toContain(field);
    expect(error.value).toEqual(value);
  });

  it('answers any JSON with a configuration or a typed error', () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(v3)), fc.jsonValue(), (field, value) => {
        try {
          parseConfig({ ...v3, [field]: value });
        } catch (error) {
          expect(ModelError.isInstance(error)).toBe(true);
        }
      }),
      { numRuns: 500, seed: 7 },
    );
    for (const json of [null, [], 'text', 3]) expect(errorOf(json).code).toBe('model/bad-config');
  });
});

describe('routerConfigOf', () => {
  it('ranks the groups of noaux_tc by their two best experts', () => {
    expect(routerConfigOf(parseConfig(v3))).toEqual({
      experts: 16,
      topK: 4,
      groups: 4,
      topKGroups: 2,
      scoring: 'sigmoid',
      groupScore: 'top2Sum',
      normalize: true,
      routedScalingFactor: 2.5,
    });
  });

  it('ignores the groups of greedy', () => {
    const config = routerConfigOf(parseConfig({ ...v2, n_group: 3, topk_group: 1 }));
    expect(config).toMatchObject({ groups: 1, topKGroups: 1, scoring: 'softmax', normalize: false });
  });
});

describe('dimensionsOf', () => {
  it('knows models without a compressed query and without experts', () => {
    expect(dimensionsOf(parseConfig(v2)).queryRank).toBe(0);
    const dense = parseConfig({ ...v3, n_routed_experts: null });
    expect(dimensionsOf(dense)).toMatchObject({ experts: 0, topK: 0, sharedWidth: 0 });
    expect(isMoeLayer(dense, 3)).toBe(false);
  });

  it('places experts by first_k_dense_replace and moe_layer_freq', () => {
    const config = parseConfig({ ...v3, first_k_dense_replace: 1, moe_layer_freq: 2 });
    expect([0, 1, 2, 3].map((layer) => isMoeLayer(config, layer))).toEqual([false, false, true, false]);
  });
});

describe('a configuration of another family', () => {
  it.each(['llama', 'constructor'])('is refused by its model_type %s, not by a field it lacks', (family) => {
    expect(() => parseConfig({ model_type: family })).toThrow(/model_type/);
    expect(() => parseConfig({ model_type: family })).toThrow(family);
  });
});
