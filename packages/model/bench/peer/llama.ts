import { existsSync } from 'node:fs';
import { GgufWriter } from './gguf.js';

/** Shapes of the synthetic model, under the names of its Hugging Face configuration. */
export interface PeerShapes {
  hidden_size: number;
  num_hidden_layers: number;
  first_k_dense_replace: number;
  intermediate_size: number;
  moe_intermediate_size: number;
  num_attention_heads: number;
  q_lora_rank: number;
  kv_lora_rank: number;
  qk_nope_head_dim: number;
  qk_rope_head_dim: number;
  v_head_dim: number;
  n_routed_experts: number;
  num_experts_per_tok: number;
  vocab_size: number;
}

/** llama.cpp on one thread, through node-llama-cpp. */
export interface LlamaPeer {
  /** Evaluates a prompt of this many tokens from an empty cache. */
  prefill(tokens: number): Promise<void>;
  /** Generates this many tokens one by one after what is in the cache. */
  decode(tokens: number): Promise<void>;
  close(): Promise<void>;
}

/** float16 bits of 2^-12, so that random Q8_0 weights have a standard deviation near 0.02. */
const SCALE_BITS = 0x0c00;

/** Writes the same shapes with random Q8_0 weights as a GGUF file of architecture deepseek2. */
export function writeGguf(path: string, shapes: PeerShapes): void {
  const s = shapes;
  const writer = new GgufWriter();
  writer.string('general.architecture', 'deepseek2');
  writer.string('general.name', 'synthetic');
  writer.uint('general.alignment', 32);
  const uints: Record<string, number> = {
    block_count: s.num_hidden_layers,
    context_length: 4096,
    embedding_length: s.hidden_size,
    feed_forward_length: s.intermediate_size,
    'attention.head_count': s.num_attention_heads,
    'attention.head_count_kv': 1,
    expert_used_count: s.num_experts_per_tok,
    leading_dense_block_count: s.first_k_dense_replace,
    vocab_size: s.vocab_size,
    'attention.q_lora_rank': s.q_lora_rank,
    'attention.kv_lora_rank': s.kv_lora_rank,
    'attention.key_length': s.kv_lora_rank + s.qk_rope_head_dim,
    'attention.value_length': s.kv_lora_rank,
    'attention.key_length_mla': s.qk_nope_head_dim + s.qk_rope_head_dim,
    'attention.value_length_mla': s.v_head_dim,
    expert_feed_forward_length: s.moe_intermediate_size,
    expert_count: s.n_routed_experts,
    expert_shared_count: 1,
    expert_gating_func: 2,
    'rope.dimension_count': s.qk_rope_head_dim,
  };
  for (const [key, value] of Object.entries(uints)) writer.uint(`deepseek2.${key}`, value);
  writer.float('deepseek2.attention.layer_norm_rms_epsilon', 1e-6);
  writer.float('deepseek2.rope.freq_base', 10000);
  writer.float('deepseek2.expert_weights_scale', 1);
  writer.bool('deepseek2.expert_weights_norm', true);
  addVocabulary(writer, s.vocab_size);
  addTensors(writer, s);
  writer.write(path);
}

function addVocabulary(writer: GgufWriter, size: number): void {
  const special = ['<unk>', '<s>', '</s>'];
  const tokens = Array.from({ length: size }, (_, id) => {
    if (id < 3) return special[id]!;
    return id < 259 ? `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>` : `t${id}`;
  });
  writer.string('tokenizer.ggml.model', 'llama');
  writer.strings('tokenizer.ggml.tokens', tokens);
  writer.floats(
    'tokenizer.ggml.scores',
    tokens.map((_, id) => -id),
  );
  writer.ints(
    'tokenizer.ggml.token_type',
    tokens.map((_, id) => (id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)),
  );
  writer.uint('tokenizer.ggml.bos_token_id', 1);
  writer.uint('tokenizer.ggml.eos_token_id', 2);
}

function addTensors(writer: GgufWriter, s: PeerShapes): void {
  let state = 1;
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const quantized = (name: string, ...dims: number[]): void =>
    writer.tensor({
      name: `${name}.weight`,
      dims,
      type: 'q8_0',
      fill: (bytes) => {
        for (let start = 0; start < bytes.length; start += 34) {
          bytes.writeUInt16LE(SCALE_BITS, start);
          for (let index = 2; index < 34; index++) bytes[start + index] = next() * 254 - 127;
        }
      },
    });
  const plain = (name: string, value: () => number, ...dims: number[]): void =>
    writer.tensor({
      name,
      dims,
      type: 'f32',
      fill: (bytes) => {
        for (let start = 0; start < bytes.length; start += 4) bytes.writeFloatLE(value(), start);
      },
    });
  const one = (): number => 1;
  const small = (): number => (next() - 0.5) * 0.06;
  const heads = s.num_attention_heads;
  quantized('token_embd', s.hidden_size, s.vocab_size);
  plain('output_norm.weight', one, s.hidden_size);
  quantized('output', s.hidden_size, s.vocab_size);
  for (let layer = 0; layer < s.num_hidden_layers; layer++) {
    const at = `blk.${layer}.`;
    plain(`${at}attn_norm.weight`, one, s.hidden_size);
    quantized(`${at}attn_q_a`, s.hidden_size, s.q_lora_rank);
    plain(`${at}attn_q_a_norm.weight`, one, s.q_lora_rank);
    quantized(`${at}attn_q_b`, s.q_lora_rank, heads * (s.qk_nope_head_dim + s.qk_rope_head_dim));
    quantized(`${at}attn_kv_a_mqa`, s.hidden_size, s.kv_lora_rank + s.qk_rope_head_dim);
    plain(`${at}attn_kv_a_norm.weight`, one, s.kv_lora_rank);
    quantized(`${at}attn_k_b`, s.qk_nope_head_dim, s.kv_lora_rank, heads);
    quantized(`${at}attn_v_b`, s.kv_lora_rank, s.v_head_dim, heads);
    quantized(`${at}attn_output`, heads * s.v_head_dim, s.hidden_size);
    plain(`${at}ffn_norm.weight`, one, s.hidden_size);
    if (layer < s.first_k_dense_replace) {
      quantized(`${at}ffn_gate`, s.hidden_size, s.intermediate_size);
      quantized(`${at}ffn_up`, s.hidden_size, s.intermediate_size);
      quantized(`${at}ffn_down`, s.intermediate_size, s.hidden_size);
      continue;
    }
    plain(`${at}ffn_gate_inp.weight`, small, s.hidden_size, s.n_routed_experts);
    plain(`${at}exp_probs_b.bias`, small, s.n_routed_experts);
    for (const [suffix, ...dims] of [['exps', s.n_routed_experts], ['shexp']] as [string, ...number[]][]) {
      quantized(`${at}ffn_gate_${suffix}`, s.hidden_size, s.moe_intermediate_size, ...dims);
      quantized(`${at}ffn_up_${suffix}`, s.hidden_size, s.moe_intermediate_size, ...dims);
      quantized(`${at}ffn_down_${suffix}`, s.moe_intermediate_size, s.hidden_size, ...dims);
    }
  }
}

/** Opens llama.cpp on the GGUF file at `path`, which it writes first where it is absent; undefined when not installed. */
export async function openLlama(
  path: string,
  shapes: PeerShapes,
  contextTokens: number,
): Promise<LlamaPeer | undefined> {
  const module = await import('node-llama-cpp').catch(() => undefined);
  if (module === undefined) return undefined;
  if (!existsSync(path)) writeGguf(path, shapes);
  const llama = await module.getLlama({ gpu: false, build: 'never', logLevel: 'error', maxThreads: 1 });
  const model = await llama.loadModel({ modelPath: path });
  const context = await model.createContext({ contextSize: contextTokens, threads: 1, batchSize: 512 });
  const sequence = context.getSequence();
  return {
    async prefill(tokens) {
      await sequence.clearHistory();
      await sequence.evaluateWithoutGeneratingNewTokens(
        Array.from({ length: tokens }, (_, i) => 300 + (i % 700)),
      );
    },
    async decode(tokens) {
      let count = 0;
      for await (const _ of sequence.evaluate([400], { temperature: 0, yieldEogToken: true })) {
        if (++count >= tokens) break;
      }
    },
    close: () => model.dispose(),
  };
}
