import type { Checkpoint } from '@moestack/fp8';
import type { DeepseekConfig } from './config.js';
import { dimensionsOf, isMoeLayer } from './dimensions.js';
import { ModelError } from './errors.js';
import type { TensorRole } from './precision.js';
import { headSlices, type TensorShare, WHOLE_SHARE } from './tensor-share.js';
import type { WeightSlice } from './weight-slices.js';

/** One tensor that the model needs. Vectors have `rows` 1. */
export interface TensorSpec {
  readonly name: string;
  readonly role: TensorRole;
  readonly rows: number;
  readonly cols: number;
  /** `rows` where single rows or row ranges are used, `panels` where only the whole product is. */
  readonly layout: 'panels' | 'rows';
  /** The part that this rank holds, if not all. */
  readonly slice?: WeightSlice | undefined;
}

/**
 * Every tensor of the network under its Hugging Face name, in the order in which it runs. Layers from
 * `num_hidden_layers` on (multi-token prediction) are not part of it.
 *
 * @param expertsOf - the routed experts of a layer that are wanted, default all; one that is named twice is there twice.
 * @param share - the part of the attention heads that is wanted, default all.
 */
export function tensorPlan(
  config: DeepseekConfig,
  expertsOf: (layer: number) => Iterable<number> = () => allExperts(config),
  share: TensorShare = WHOLE_SHARE,
): TensorSpec[] {
  const d = dimensionsOf(config);
  const slices = headSlices(d, share);
  const plan: TensorSpec[] = [];
  const add = (
    name: string,
    role: TensorRole,
    rows: number,
    cols: number,
    layout: 'panels' | 'rows' = 'panels',
    slice?: WeightSlice,
  ) => {
    plan.push({ name, role, rows, cols, layout, slice });
  };
  const vector = (name: string, length: number) => add(name, 'vector', 1, length);
  const mlp = (prefix: string, width: number) => {
    add(`${prefix}.gate_proj.weight`, 'projection', width, d.hidden);
    add(`${prefix}.up_proj.weight`, 'projection', width, d.hidden);
    add(`${prefix}.down_proj.weight`, 'projection', d.hidden, width);
  };
  add('model.embed_tokens.weight', 'embedding', d.vocabulary, d.hidden, 'rows');
  for (let layer = 0; layer < d.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const attention = `${prefix}.self_attn`;
    vector(`${prefix}.input_layernorm.weight`, d.hidden);
    if (d.queryRank > 0) {
      add(`${attention}.q_a_proj.weight`, 'projection', d.queryRank, d.hidden);
      vector(`${attention}.q_a_layernorm.weight`, d.queryRank);
      const rows = d.heads * d.headDims;
      add(`${attention}.q_b_proj.weight`, 'projection', rows, d.queryRank, 'panels', slices.query);
    } else {
      add(`${attention}.q_proj.weight`, 'projection', d.heads * d.headDims, d.hidden, 'panels', slices.query);
    }
    add(`${attention}.kv_a_proj_with_mqa.weight`, 'projection', d.latentDims, d.hidden);
    vector(`${attention}.kv_a_layernorm.weight`, d.rank);
    const expanded = d.heads * (d.nopeDims + d.valueDims);
    add(`${attention}.kv_b_proj.weight`, 'projection', expanded, d.rank, 'rows', slices.expand);
    const mixed = d.heads * d.valueDims;
    add(`${attention}.o_proj.weight`, 'projection', d.hidden, mixed, 'panels', slices.output);
    vector(`${prefix}.post_attention_layernorm.weight`, d.hidden);
    if (!isMoeLayer(config, layer)) {
      mlp(`${prefix}.mlp`, d.denseWidth);
      continue;
    }
    add(`${prefix}.mlp.gate.weight`, 'router', d.experts, d.hidden);
    if (d.hasCorrectionBias) vector(`${prefix}.mlp.gate.e_score_correction_bias`, d.experts);
    for (const expert of expertsOf(layer)) mlp(`${prefix}.mlp.experts.${expert}`, d.expertWidth);
    if (d.sharedWidth > 0) mlp(`${prefix}.mlp.shared_experts`, d.sharedWidth);
  }
  vector('model.norm.weight', d.hidden);
  if (!config.tie_word_embeddings) add('lm_head.weight', 'head', d.vocabulary, d.hidden);
  return plan;
}

/** Ids of all routed experts. */
export function allExperts(config: DeepseekConfig): Int32Array {
  return Int32Array.from({ length: config.n_routed_experts ?? 0 }, (_, expert) => expert);
}

const DTYPES: readonly string[] = ['BF16', 'F32', 'F8_E4M3'];

/**
 * Checks that every tensor of `plan` is in the checkpoint with the right shape and a dtype that can be loaded, before
 * anything is read.
 *
 * @returns the bytes that these tensors (and their block scales) take in the checkpoint.
 */
export function checkTensors(checkpoint: Checkpoint, plan: readonly TensorSpec[]): number {
  const names = new Set(checkpoint.names());
  let bytes = 0;
  for (const spec of plan) {
    if (!names.has(spec.name)) throw missingTensor(spec.name, spec);
    const info = checkpoint.info(spec.name);
    const expected = spec.role === 'vector' ? [spec.cols] : [spec.rows, spec.cols];
    if (!sameShape(info.shape, expected)) throw badShape(spec.name, info.shape, expected);
    if (!DTYPES.includes(info.dtype) || (info.dtype === 'F8_E4M3' && spec.role !== 'projection')) {
      throw badDtype(spec, info.dtype);
    }
    bytes += info.bytes;
    if (info.dtype === 'F8_E4M3') bytes += checkScales(checkpoint, names, spec);
  }
  return bytes;
}

function checkScales(checkpoint: Checkpoint, names: ReadonlySet<string>, spec: TensorSpec): number {
  const name = `${spec.name}_scale_inv`;
  if (!names.has(name)) throw missingTensor(name, spec);
  const info = checkpoint.info(name);
  const expected = [Math.ceil(spec.rows / 128), Math.ceil(spec.cols / 128)];
  if (!sameShape(info.shape, expected)) throw badShape(name, info.shape, expected);
  if (info.dtype !== 'F32') throw badDtype({ ...spec, name }, info.dtype);
  return info.bytes;
}

function sameShape(actual: readonly number[], expected: readonly number[]): boolean {
  return actual.length === expected.length && actual.every((size, axis) => size === expected[axis]);
}

function missingTensor(name: string, spec: TensorSpec): ModelError {
  return new ModelError({
    code: 'model/missing-tensor',
    message: `the checkpoint has no tensor ${name} (expected [${spec.rows}, ${spec.cols}] for this configuration)`,
    value: name,
    remedy: 'check that config.json belongs to these weights and that every shard is there',
  });
}

function badShape(name: string, actual: readonly number[], expected: readonly number[]): ModelError {
  return new ModelError({
    code: 'model/bad-tensor',
    message: `expected shape [${expected.join(', ')}] for ${name}, got [${actual.join(', ')}]`,
    value: { name, shape: [...actual] },
    remedy: 'check that config.json belongs to these weights',
  });
}

function badDtype(spec: TensorSpec, dtype: string): ModelError {
  const allowed = spec.role === 'projection' ? 'BF16, F32 or F8_E4M3 with weight_scale_inv' : 'BF16 or F32';
  return new ModelError({
    code: 'model/bad-tensor',
    message: `expected ${allowed} for ${spec.name}, got ${dtype}`,
    value: { name: spec.name, dtype },
    remedy: 'convert the checkpoint with convertCheckpoint of @moestack/fp8/node',
  });
}
