import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

// The few messages of ONNX's protobuf schema that a graph of two operators needs, by field number.
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}

function field(number: number, value: number | string | Uint8Array): Buffer {
  if (typeof value === 'number') return Buffer.from([...varint(number * 8), ...varint(value)]);
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  return Buffer.concat([Buffer.from([...varint(number * 8 + 2), ...varint(bytes.length)]), bytes]);
}

const message = (...fields: Buffer[]): Buffer => Buffer.concat(fields);

function tensor(name: string, dims: number[], data: Float32Array): Buffer {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(...dims.map((dim) => field(1, dim)), field(2, 1), field(8, name), field(9, raw));
}

function node(type: string, inputs: string[], output: string): Buffer {
  return message(...inputs.map((input) => field(1, input)), field(2, output), field(4, type));
}

function value(name: string, elementType: number, dims: (string | number)[]): Buffer {
  const shape = dims.map((dim) => field(1, typeof dim === 'number' ? field(1, dim) : field(2, dim)));
  const type = field(1, message(field(1, elementType), field(2, message(...shape))));
  return message(field(1, name), field(2, type));
}

/**
 * Writes a causal "model" whose logits depend on the last token only: logits = embedding[id] * head. Enough to run every step
 * of loading and scoring in the real runtime, with results that can be computed by hand.
 */
export async function writeOnnxModel(
  folder: string,
  shape: { vocabulary: number; hidden: number; embedding: Float32Array; head: Float32Array },
  options: { lastOnly?: boolean } = {},
): Promise<void> {
  const { vocabulary, hidden, embedding, head } = shape;
  const graph = message(
    field(1, node('Gather', ['embedding', 'input_ids'], 'hidden')),
    field(1, node('MatMul', ['hidden', 'head'], options.lastOnly ? 'all' : 'logits')),
    ...(options.lastOnly ? [field(1, node('ReduceMax', ['all', 'axes'], 'logits'))] : []),
    field(2, 'tiny'),
    field(5, tensor('embedding', [vocabulary, hidden], embedding)),
    field(5, tensor('head', [hidden, vocabulary], head)),
    ...(options.lastOnly
      ? [
          field(
            5,
            message(
              field(1, 1),
              field(2, 7),
              field(8, 'axes'),
              field(9, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])),
            ),
          ),
        ]
      : []),
    field(11, value('input_ids', 7, ['batch', 'sequence'])),
    field(12, value('logits', 1, ['batch', options.lastOnly ? 1 : 'sequence', vocabulary])),
  );
  const opset = message(field(1, ''), field(2, 18));
  await mkdir(join(folder, 'onnx'), { recursive: true });
  await writeFile(join(folder, 'onnx/model.onnx'), message(field(1, 8), field(7, graph), field(8, opset)));
  await writeFile(
    join(folder, 'config.json'),
    JSON.stringify({
      model_type: 'gpt2',
      architectures: ['GPT2LMHeadModel'],
      vocab_size: vocabulary,
      n_embd: hidden,
      n_head: 1,
      n_layer: 1,
    }),
  );
}
