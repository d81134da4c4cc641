import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Below, type FuzzResult, fuzzed, mutateText as mutate } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { ChatTemplate } from '../src/chat-template.js';
import { readGenerationConfig } from '../src/generation-config.js';
import { readConfig } from '../src/read-config.js';
import { loadTokenizer } from '../src/tokenizer.js';

const config = JSON.stringify({
  ...{ architectures: ['DeepseekV3ForCausalLM'], model_type: 'deepseek_v3', vocab_size: 16, hidden_size: 32 },
  ...{ intermediate_size: 64, moe_intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2 },
  ...{ n_shared_experts: 1, n_routed_experts: 8, num_experts_per_tok: 2, n_group: 4, topk_group: 2 },
  ...{ kv_lora_rank: 8, q_lora_rank: 8, qk_rope_head_dim: 4, v_head_dim: 8, qk_nope_head_dim: 8 },
  ...{ first_k_dense_replace: 1, moe_layer_freq: 1, scoring_func: 'sigmoid', topk_method: 'noaux_tc' },
  ...{ norm_topk_prob: true, routed_scaling_factor: 2.5, rms_norm_eps: 1e-6, rope_theta: 10_000 },
  ...{ max_position_embeddings: 64, eos_token_id: 0, tie_word_embeddings: false },
  rope_scaling: {
    type: 'yarn',
    factor: 4,
    original_max_position_embeddings: 16,
    beta_fast: 32,
    beta_slow: 1,
  },
});

const tokenizer = JSON.stringify({
  version: '1.0',
  added_tokens: [
    {
      id: 0,
      content: '<end>',
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    },
  ],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    vocab: { '<end>': 0, a: 1, b: 2, c: 3, ab: 4, abc: 5 },
    merges: [
      ['a', 'b'],
      ['ab', 'c'],
    ],
  },
});

const tokenizerConfig = JSON.stringify({
  tokenizer_class: 'PreTrainedTokenizerFast',
  eos_token: '<end>',
  add_bos_token: false,
});
const generation = JSON.stringify({
  temperature: 0.7,
  top_p: 0.9,
  top_k: 40,
  eos_token_id: [0, 1],
  do_sample: true,
});
const template =
  "{% for message in messages %}{{ message.role | upper }}: {{ message['content'] }}{% if loop.last %}!{% endif %}{% endfor %}";

/**
 * Mutates the small files of a model directory. All but MoestackErrors are failures.
 *
 * @throws Error with seed and iteration of the first failure.
 */
export async function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  const folder = mkdtempSync(join(tmpdir(), 'moestack-fuzz-'));
  const write = (file: string, text: string) => writeFileSync(join(folder, file), text);
  try {
    return await fuzzed(seed, iterations, MoestackError.isInstance, (below) => once(below, write, folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function once(
  below: Below,
  write: (file: string, text: string) => void,
  folder: string,
): Promise<void> {
  switch (below(5)) {
    case 0:
      write('config.json', mutate(config, below));
      await readConfig(folder);
      return;
    case 1:
      write('generation_config.json', mutate(generation, below));
      await readGenerationConfig(folder);
      return;
    case 2: {
      const source = mutate(template, below);
      new ChatTemplate(source, {}).render([{ role: 'user', content: 'Hi' }]);
      return;
    }
    default: {
      const isTokenizer = below(3) > 0;
      write('tokenizer.json', isTokenizer ? mutate(tokenizer, below) : tokenizer);
      write('tokenizer_config.json', isTokenizer ? tokenizerConfig : mutate(tokenizerConfig, below));
      const loaded = await loadTokenizer(folder);
      loaded.decode(loaded.encode('abcab c'));
    }
  }
}
