import { z } from 'zod';
import { SimulatorError } from '../errors.js';

const size = z
  .int()
  .min(1)
  .max(1 << 24);
const count = z
  .int()
  .min(0)
  .max(1 << 16);

/** The sizes of a mixture-of-experts model with multi-head latent attention that decide its cost. */
export const ModelShape = z
  .strictObject({
    name: z.string().min(1).max(200),
    layers: z.int().min(1).max(4096).describe('transformer layers, dense ones included'),
    denseLayers: count.describe('leading layers with a plain feed-forward block'),
    hidden: size,
    heads: size,
    vocabulary: size,
    qLoraRank: size.nullable().describe('null: queries are projected directly'),
    kvLoraRank: size,
    qkNopeHeadDim: size,
    qkRopeHeadDim: size,
    vHeadDim: size,
    denseIntermediate: size,
    expertIntermediate: size,
    experts: z.int().min(1).max(65_536).describe('routed experts of a layer'),
    topK: z.int().min(1).max(1024),
    sharedExperts: count,
    expertGroups: z.int().min(1).max(65_536),
    topKGroups: z.int().min(1).max(65_536),
    mtpLayers: count.describe('multi-token prediction modules in the checkpoint'),
    tiedEmbeddings: z.boolean(),
  })
  .refine(({ layers, denseLayers }) => denseLayers <= layers, 'expected denseLayers to be at most layers')
  .refine(({ experts, topK }) => topK <= experts, 'expected topK to be at most experts')
  .refine(
    ({ experts, expertGroups }) => experts % expertGroups === 0,
    'expected experts to be a multiple of expertGroups',
  )
  .refine(
    ({ expertGroups, topKGroups }) => topKGroups <= expertGroups,
    'expected topKGroups to be at most expertGroups',
  );
export type ModelShape = z.infer<typeof ModelShape>;

/** What {@link modelShapeFromConfig} reads of a Hugging Face `config.json`; everything else passes unread. */
export const ModelConfigFile = z.looseObject({
  model_type: z.string().optional(),
  num_hidden_layers: size,
  first_k_dense_replace: count.default(0),
  hidden_size: size,
  num_attention_heads: size,
  vocab_size: size,
  q_lora_rank: size.nullish(),
  kv_lora_rank: size,
  qk_nope_head_dim: size,
  qk_rope_head_dim: size,
  v_head_dim: size,
  intermediate_size: size,
  moe_intermediate_size: size,
  n_routed_experts: size,
  num_experts_per_tok: size,
  n_shared_experts: count.nullish(),
  n_group: size.nullish(),
  topk_group: size.nullish(),
  num_nextn_predict_layers: count.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
});
export type ModelConfigFile = z.infer<typeof ModelConfigFile>;

/**
 * The shape of a DeepSeek-V2/V3-family model from its parsed `config.json`.
 *
 * @throws SimulatorError `simulator/bad-config` naming the first field that is missing or wrong.
 *
 * @example
 * ```ts
 * import { modelShapeFromConfig } from '@moestack/simulator';
 *
 * const config = {
 *   num_hidden_layers: 27, first_k_dense_replace: 1, hidden_size: 2048, num_attention_heads: 16, vocab_size: 102400,
 *   q_lora_rank: null, kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128,
 *   intermediate_size: 10944, moe_intermediate_size: 1408, n_routed_experts: 64, num_experts_per_tok: 6, n_shared_experts: 2,
 * };
 * console.log(modelShapeFromConfig(config, 'DeepSeek-V2-Lite').experts);
 * ```
 */
export function modelShapeFromConfig(config: unknown, name = 'model'): ModelShape {
  const file = check(ModelConfigFile, config);
  return check(ModelShape, {
    name,
    layers: file.num_hidden_layers,
    denseLayers: file.first_k_dense_replace,
    hidden: file.hidden_size,
    heads: file.num_attention_heads,
    vocabulary: file.vocab_size,
    qLoraRank: file.q_lora_rank ?? null,
    kvLoraRank: file.kv_lora_rank,
    qkNopeHeadDim: file.qk_nope_head_dim,
    qkRopeHeadDim: file.qk_rope_head_dim,
    vHeadDim: file.v_head_dim,
    denseIntermediate: file.intermediate_size,
    expertIntermediate: file.moe_intermediate_size,
    experts: file.n_routed_experts,
    topK: file.num_experts_per_tok,
    sharedExperts: file.n_shared_experts ?? 0,
    expertGroups: file.n_group ?? 1,
    topKGroups: file.topk_group ?? 1,
    mtpLayers: file.num_nextn_predict_layers ?? 0,
    tiedEmbeddings: file.tie_word_embeddings ?? false,
  });
}

/** DeepSeek-V3 and R1: 671 B parameters, 37 B of them active for a token. */
export const deepSeekV3: ModelShape = {
  name: 'DeepSeek-V3',
  layers: 61,
  denseLayers: 3,
  hidden: 7168,
  heads: 128,
  vocabulary: 129_280,
  qLoraRank: 1536,
  kvLoraRank: 512,
  qkNopeHeadDim: 128,
  qkRopeHeadDim: 64,
  vHeadDim: 128,
  denseIntermediate: 18_432,
  expertIntermediate: 2048,
  experts: 256,
  topK: 8,
  sharedExperts: 1,
  expertGroups: 8,
  topKGroups: 4,
  mtpLayers: 1,
  tiedEmbeddings: false,
};

function check<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.join('.') || 'the configuration';
  throw new SimulatorError({
    code: 'simulator/bad-config',
    message: `expected a DeepSeek-V2/V3-family configuration, got a wrong ${path}: ${issue?.message}`,
    value: path,
    remedy: `correct ${path}; a model without multi-head latent attention cannot be priced`,
  });
}
