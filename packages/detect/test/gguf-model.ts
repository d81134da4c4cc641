import { writeFile } from 'node:fs/promises';

// GGUF version 3: header, key-value pairs, tensor infos, tensors aligned to 32 bytes.
const number = (bytes: 4 | 8, value: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 4) buffer.writeUInt32LE(value);
  else buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
};
const float = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
};
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([number(8, bytes.length), bytes]);
};
const pair = (key: string, type: number, value: Buffer): Buffer =>
  Buffer.concat([text(key), number(4, type), value]);
const uint = (key: string, value: number): Buffer => pair(key, 4, number(4, value));
const list = (key: string, type: number, values: Buffer[]): Buffer =>
  pair(key, 9, Buffer.concat([number(4, type), number(8, values.length), ...values]));

/** Writes a Llama of one layer with random float32 weights and a byte vocabulary. */
export async function writeGgufModel(path: string, random: () => number): Promise<{ vocabulary: number }> {
  const [width, inner, vocabulary] = [32, 64, 300];
  const names = ['<unk>', '<s>', '</s>'];
  const tokens = Array.from({ length: vocabulary }, (_, id) =>
    id < 3
      ? names[id]!
      : id < 259
        ? `<0x${(id - 3).toString(16).toUpperCase().padStart(2, '0')}>`
        : `\u2581w${id}`,
  );
  const pairs = [
    pair('general.architecture', 8, text('llama')),
    uint('general.alignment', 32),
    uint('llama.block_count', 1),
    uint('llama.context_length', 512),
    uint('llama.embedding_length', width),
    uint('llama.feed_forward_length', inner),
    uint('llama.attention.head_count', 2),
    uint('llama.attention.head_count_kv', 2),
    uint('llama.rope.dimension_count', width / 2),
    uint('llama.vocab_size', vocabulary),
    pair('llama.attention.layer_norm_rms_epsilon', 6, float(1e-5)),
    pair('tokenizer.ggml.model', 8, text('llama')),
    list('tokenizer.ggml.tokens', 8, tokens.map(text)),
    list(
      'tokenizer.ggml.scores',
      6,
      tokens.map((_, id) => float(-id)),
    ),
    list(
      'tokenizer.ggml.token_type',
      5,
      tokens.map((_, id) => number(4, id === 0 ? 2 : id < 3 ? 3 : id < 259 ? 6 : 1)),
    ),
    uint('tokenizer.ggml.bos_token_id', 1),
    uint('tokenizer.ggml.eos_token_id', 2),
  ];
  const shapes: [name: string, ...dims: number[]][] = [
    ['token_embd.weight', width, vocabulary],
    ['output_norm.weight', width],
    ['output.weight', width, vocabulary],
    ['blk.0.attn_norm.weight', width],
    ['blk.0.attn_q.weight', width, width],
    ['blk.0.attn_k.weight', width, width],
    ['blk.0.attn_v.weight', width, width],
    ['blk.0.attn_output.weight', width, width],
    ['blk.0.ffn_norm.weight', width],
    ['blk.0.ffn_gate.weight', width, inner],
    ['blk.0.ffn_up.weight', width, inner],
    ['blk.0.ffn_down.weight', inner, width],
  ];
  let offset = 0;
  const infos: Buffer[] = [];
  const data: Buffer[] = [];
  for (const [name, ...dims] of shapes) {
    const size = dims.reduce((product, dim) => product * dim, 1);
    infos.push(
      Buffer.concat([
        text(name),
        number(4, dims.length),
        ...dims.map((dim) => number(8, dim)),
        number(4, 0),
        number(8, offset),
      ]),
    );
    const values = Float32Array.from({ length: size }, () => (dims.length === 1 ? 1 : random() - 0.5));
    // All sizes are multiples of 32 bytes.
    data.push(Buffer.from(values.buffer));
    offset += size * 4;
  }
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    number(4, 3),
    number(8, shapes.length),
    number(8, pairs.length),
    ...pairs,
    ...infos,
  ]);
  const padding = Buffer.alloc((32 - (head.length % 32)) % 32);
  await writeFile(path, Buffer.concat([head, padding, ...data]));
  return { vocabulary };
}
