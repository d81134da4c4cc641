import { closeSync, existsSync, mkdirSync, openSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { quantize } from '@moestack/fp8';
import { parseConfig } from '../src/config.js';
import { type TensorSpec, tensorPlan } from '../src/tensor-plan.js';

/** 324 M parameters, 115 M active per token, in the shapes of DeepSeek-V3 divided by seven. */
export const syntheticConfig = {
  architectures: ['DeepseekV3ForCausalLM'],
  model_type: 'deepseek_v3',
  vocab_size: 1024,
  hidden_size: 1024,
  intermediate_size: 2048,
  moe_intermediate_size: 512,
  num_hidden_layers: 12,
  first_k_dense_replace: 1,
  num_attention_heads: 8,
  n_routed_experts: 16,
  n_shared_experts: 1,
  num_experts_per_tok: 4,
  n_group: 1,
  topk_group: 1,
  topk_method: 'noaux_tc',
  scoring_func: 'sigmoid',
  norm_topk_prob: true,
  routed_scaling_factor: 1,
  q_lora_rank: 384,
  kv_lora_rank: 256,
  qk_nope_head_dim: 64,
  qk_rope_head_dim: 32,
  v_head_dim: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  rope_scaling: null,
  max_position_embeddings: 4096,
  hidden_act: 'silu',
  attention_bias: false,
  tie_word_embeddings: false,
  bos_token_id: null,
  eos_token_id: null,
  quantization_config: {
    quant_method: 'fp8',
    fmt: 'e4m3',
    activation_scheme: 'dynamic',
    weight_block_size: [128, 128],
  },
};

interface Entry {
  readonly name: string;
  readonly dtype: 'F8_E4M3' | 'BF16' | 'F32';
  readonly shape: number[];
  readonly bytes: number;
  readonly fill: (target: Buffer) => void;
}

/** Writes a checkpoint of this configuration with seeded random weights into `directory`, unless it is there. */
export function writeSyntheticCheckpoint(
  directory: string,
  config: typeof syntheticConfig = syntheticConfig,
): void {
  const weights = join(directory, 'model.safetensors');
  if (existsSync(weights)) return;
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config, null, 1));
  const random = new Random(1);
  const entries = tensorPlan(parseConfig(config)).flatMap((spec) => entriesOf(spec, random));
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const { name, dtype, shape, bytes } of entries) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const text = JSON.stringify(header);
  const head = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, 0x20);
  head.writeBigUInt64LE(BigInt(head.length - 8));
  head.write(text, 8);
  const file = openSync(`${weights}.part`, 'w');
  writeSync(file, head);
  for (const entry of entries) {
    const bytes = Buffer.alloc(entry.bytes);
    entry.fill(bytes);
    writeSync(file, bytes);
  }
  closeSync(file);
  renameSync(`${weights}.part`, weights);
}

function entriesOf(spec: TensorSpec, random: Random): Entry[] {
  const { name, rows, cols, role } = spec;
  if (role === 'projection') {
    const blocks = Math.ceil(rows / 128) * Math.ceil(cols / 128);
    const shape = [Math.ceil(rows / 128), Math.ceil(cols / 128)];
    return [
      {
        name,
        dtype: 'F8_E4M3',
        shape: [rows, cols],
        bytes: rows * cols,
        fill: (target) => random.codes(target),
      },
      {
        name: `${name}_scale_inv`,
        dtype: 'F32',
        shape,
        bytes: blocks * 4,
        fill: (target) => new Float32Array(target.buffer, target.byteOffset, blocks).fill(random.scale),
      },
    ];
  }
  if (name.endsWith('e_score_correction_bias')) {
    return [{ name, dtype: 'F32', shape: [cols], bytes: cols * 4, fill: () => {} }];
  }
  const shape = role === 'vector' ? [cols] : [rows, cols];
  const fill = role === 'vector' ? fillOnes : (target: Buffer) => random.bf16(target);
  return [{ name, dtype: 'BF16', shape, bytes: rows * cols * 2, fill }];
}

function fillOnes(target: Buffer): void {
  for (let i = 0; i < target.length; i += 2) target.writeUInt16LE(0x3f80, i);
}

const TABLE_SIDE = 128;

class Random {
  /** Scale of the blocks that {@link Random.codes} fills. */
  readonly scale: number;
  /** Codes of one quantised block of normally distributed weights. */
  private readonly table: Uint8Array;
  private state: number;

  constructor(seed: number) {
    this.state = seed;
    // Codes are drawn from a quantised block and not evenly from all codes, because speed depends on them: quantised
    // weights hold one subnormal in ten thousand, evenly drawn codes one in sixteen, and products with those are slower.
    const weights = Float32Array.from({ length: TABLE_SIDE * TABLE_SIDE }, () => this.normal() * 0.02);
    const block = quantize(weights, [TABLE_SIDE, TABLE_SIDE], {
      kind: 'tile',
      tile: [TABLE_SIDE, TABLE_SIDE],
    });
    this.table = Uint8Array.from(block.codes);
    this.scale = block.scales[0]!;
  }

  private next(): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) | 0;
    return this.state >>> 8;
  }

  /** Standard normal, by Box and Muller. */
  private normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.next() + 1) / 2 ** 24));
    return radius * Math.cos((2 * Math.PI * this.next()) / 2 ** 24);
  }

  /** E4M3 codes of normally distributed weights. */
  codes(target: Buffer): void {
    for (let i = 0; i < target.length; i++) target[i] = this.table[this.next() >>> 10]!;
  }

  /** bfloat16 values up to 0.03 in size. */
  bf16(target: Buffer): void {
    const value = new Float32Array(1);
    const bits = new Uint32Array(value.buffer);
    for (let i = 0; i < target.length; i += 2) {
      value[0] = (this.next() / 2 ** 24 - 0.5) * 0.06;
      target.writeUInt16LE(bits[0]! >>> 16, i);
    }
  }
}
