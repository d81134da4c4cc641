import { z } from 'zod';
import { ModelError } from './errors.js';

/** Upper bounds on sizes that come from an untrusted file; far above every published model. */
const LIMITS = {
  vocabulary: 1 << 21,
  width: 1 << 17,
  layers: 1024,
  heads: 1024,
  headDims: 4096,
  experts: 1 << 14,
  context: 1 << 24,
} as const;

const size = (maximum: number) => z.int().min(1).max(maximum);

const RopeScaling = z.looseObject({
  type: z.string().optional(),
  rope_type: z.string().optional(),
  factor: z.number().positive().max(65_536).optional(),
  original_max_position_embeddings: size(LIMITS.context).optional(),
  beta_fast: z.number().positive().default(32),
  beta_slow: z.number().positive().default(1),
  mscale: z.number().nonnegative().optional(),
  mscale_all_dim: z.number().nonnegative().optional(),
});

const QuantizationConfig = z.looseObject({
  quant_method: z.string(),
  fmt: z.string().optional(),
  weight_block_size: z.array(z.int()).nullish(),
  scale_fmt: z.string().nullish(),
});

/**
 * The fields of a Hugging Face `config.json` of the DeepSeek-V2 and DeepSeek-V3 architectures that decide the
 * computation. Unknown fields pass through. Names and meanings are Hugging Face's.
 */
export const DeepseekConfig = z.looseObject({
  architectures: z.array(z.string()).nullish(),
  model_type: z.string(),
  vocab_size: size(LIMITS.vocabulary),
  hidden_size: size(LIMITS.width),
  intermediate_size: size(LIMITS.width),
  moe_intermediate_size: size(LIMITS.width).nullish(),
  num_hidden_layers: size(LIMITS.layers),
  first_k_dense_replace: z.int().min(0).default(0),
  moe_layer_freq: size(LIMITS.layers).default(1),
  num_attention_heads: size(LIMITS.heads),
  n_routed_experts: size(LIMITS.experts).nullish(),
  n_shared_experts: z.int().min(0).max(LIMITS.experts).nullish(),
  num_experts_per_tok: size(LIMITS.experts).nullish(),
  n_group: size(LIMITS.experts).nullish(),
  topk_group: size(LIMITS.experts).nullish(),
  topk_method: z.string().nullish(),
  scoring_func: z.string().nullish(),
  norm_topk_prob: z.boolean().nullish(),
  routed_scaling_factor: z.number().default(1),
  q_lora_rank: z.int().min(0).max(LIMITS.width).nullish(),
  kv_lora_rank: size(LIMITS.width),
  qk_nope_head_dim: size(LIMITS.headDims),
  qk_rope_head_dim: size(LIMITS.headDims),
  v_head_dim: size(LIMITS.headDims),
  rms_norm_eps: z.number().positive().default(1e-6),
  rope_theta: z.number().positive().default(10_000),
  rope_scaling: RopeScaling.nullish(),
  rope_interleave: z.boolean().nullish(),
  max_position_embeddings: size(LIMITS.context).default(2048),
  hidden_act: z.string().default('silu'),
  attention_bias: z.boolean().default(false),
  tie_word_embeddings: z.boolean().default(false),
  bos_token_id: z.int().nullish(),
  eos_token_id: z.union([z.int(), z.array(z.int())]).nullish(),
  quantization_config: QuantizationConfig.nullish(),
});
export type DeepseekConfig = z.infer<typeof DeepseekConfig>;

/**
 * Reads and checks a `config.json`: shape, bounds, and that the engine can run what it describes.
 *
 * @param json - the parsed file.
 * @throws ModelError `model/bad-config` for a malformed file, `model/unsupported-config` for a well-formed one that
 * describes another architecture or options outside this engine.
 */
export function parseConfig(json: unknown): DeepseekConfig {
  // Another family lacks fields that ours need: naming the family says more than naming the first missing field.
  const family = valueAt(json, ['model_type']);
  if (typeof family === 'string') checkFamily(family);
  const parsed = DeepseekConfig.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue === undefined || issue.path.length === 0 ? 'the file' : issue.path.join('.');
    throw new ModelError({
      code: 'model/bad-config',
      message: `config.json: ${where}: ${issue?.message ?? 'malformed'}`,
      value: issue === undefined ? undefined : valueAt(json, issue.path),
      remedy: 'pass the config.json of a DeepSeek-V2 or DeepSeek-V3 style checkpoint',
    });
  }
  checkSupported(parsed.data);
  return parsed.data;
}

const FAMILIES: Readonly<Record<string, string>> = {
  deepseek_v2: 'DeepseekV2ForCausalLM',
  deepseek_v3: 'DeepseekV3ForCausalLM',
};

function checkFamily(family: string): void {
  if (!Object.hasOwn(FAMILIES, family)) {
    throw unsupported('model_type', family, `one of ${Object.keys(FAMILIES).join(', ')}`);
  }
}

function checkSupported(config: DeepseekConfig): void {
  const architecture = config.architectures?.[0];
  if (architecture !== undefined && !Object.values(FAMILIES).includes(architecture)) {
    throw unsupported('architectures', architecture, Object.values(FAMILIES).join(' or '));
  }
  if (config.hidden_act !== 'silu') throw unsupported('hidden_act', config.hidden_act, 'silu');
  if (config.attention_bias) throw unsupported('attention_bias', true, 'false');
  if (config.qk_rope_head_dim % 2 !== 0) {
    throw unsupported('qk_rope_head_dim', config.qk_rope_head_dim, 'an even number');
  }
  checkRopeScaling(config);
  checkQuantization(config);
  checkExperts(config);
}

function checkRopeScaling(config: DeepseekConfig): void {
  const scaling = config.rope_scaling;
  if (scaling === null || scaling === undefined) return;
  const kind = scaling.rope_type ?? scaling.type;
  if (kind !== 'yarn') throw unsupported('rope_scaling.type', kind, 'yarn, or rope_scaling null');
  if (scaling.factor === undefined) throw unsupported('rope_scaling.factor', undefined, 'a positive number');
  if (scaling.original_max_position_embeddings === undefined) {
    throw unsupported(
      'rope_scaling.original_max_position_embeddings',
      undefined,
      'the context the model was trained with',
    );
  }
}

function checkQuantization(config: DeepseekConfig): void {
  const quantization = config.quantization_config;
  if (quantization === null || quantization === undefined) return;
  if (quantization.quant_method !== 'fp8') {
    throw unsupported('quantization_config.quant_method', quantization.quant_method, 'fp8');
  }
  if (quantization.fmt !== undefined && quantization.fmt !== 'e4m3') {
    throw unsupported('quantization_config.fmt', quantization.fmt, 'e4m3');
  }
  const block = quantization.weight_block_size;
  if (block === null || block === undefined || block.length !== 2 || block[0] !== 128 || block[1] !== 128) {
    throw unsupported('quantization_config.weight_block_size', block, '[128, 128]');
  }
}

function checkExperts(config: DeepseekConfig): void {
  const experts = config.n_routed_experts;
  if (experts === null || experts === undefined) return;
  const topK = config.num_experts_per_tok;
  if (topK === null || topK === undefined || topK > experts) {
    throw unsupported('num_experts_per_tok', topK, `a number from 1 to n_routed_experts (${experts})`);
  }
  if (config.moe_intermediate_size === null || config.moe_intermediate_size === undefined) {
    throw unsupported('moe_intermediate_size', config.moe_intermediate_size, 'the width of one expert');
  }
  const method = topKMethod(config);
  if (method !== 'greedy' && method !== 'group_limited_greedy' && method !== 'noaux_tc') {
    throw unsupported('topk_method', method, 'greedy, group_limited_greedy or noaux_tc');
  }
  const scoring = scoringFunction(config);
  if (scoring !== 'sigmoid' && scoring !== 'softmax') {
    throw unsupported('scoring_func', scoring, 'sigmoid or softmax');
  }
  if (method === 'greedy') return;
  const groups = config.n_group ?? 1;
  const keptGroups = config.topk_group ?? groups;
  if (experts % groups !== 0)
    throw unsupported('n_group', groups, `a divisor of n_routed_experts (${experts})`);
  if (keptGroups > groups) throw unsupported('topk_group', keptGroups, `at most n_group (${groups})`);
  const perGroup = experts / groups;
  if (method === 'noaux_tc' && groups > 1 && perGroup < 2) {
    throw unsupported('n_group', groups, 'at least two experts a group: groups are ranked by their two best');
  }
  if (topK > keptGroups * perGroup) {
    throw unsupported(
      'num_experts_per_tok',
      topK,
      `at most topk_group * n_routed_experts / n_group (${keptGroups * perGroup}): more would pick experts of dropped groups`,
    );
  }
}

/** `topk_method`, or what the model family means without one. */
export function topKMethod(config: DeepseekConfig): string {
  return config.topk_method ?? (config.model_type === 'deepseek_v3' ? 'noaux_tc' : 'greedy');
}

/** `scoring_func`, or what the model family means without one. */
export function scoringFunction(config: DeepseekConfig): string {
  return config.scoring_func ?? (config.model_type === 'deepseek_v3' ? 'sigmoid' : 'softmax');
}

/** Ids that end a generation; empty when the configuration names none. */
export function endOfSequenceIds(config: DeepseekConfig): readonly number[] {
  const ids = config.eos_token_id;
  if (ids === null || ids === undefined) return [];
  return typeof ids === 'number' ? [ids] : ids;
}

function unsupported(field: string, value: unknown, expected: string): ModelError {
  return new ModelError({
    code: 'model/unsupported-config',
    message: `config.json: expected ${expected} for ${field}, got ${JSON.stringify(value)}`,
    value,
    remedy: 'use a DeepSeek-V2 or DeepSeek-V3 style checkpoint whose configuration this engine supports',
  });
}

function valueAt(json: unknown, path: readonly PropertyKey[]): unknown {
  let value = json;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
