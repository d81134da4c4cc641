import { type Below, type FuzzResult, fuzzed } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { type ByteSource, memorySource } from '../src/byte-source.js';
import { CONFIG_FILE, INDEX_FILE, openCheckpoint } from '../src/checkpoint.js';
import { convertConfig } from '../src/conversion-config.js';
import { type ConversionTarget, planConversion } from '../src/conversion-plan.js';
import { convertTensor } from '../src/convert-tensor.js';
import { inspectCheckpoint } from '../src/inspect-checkpoint.js';
import { inspectionHtml } from '../src/inspection-html.js';
import { inspectionTable } from '../src/inspection-table.js';
import type { SafetensorsDtype } from '../src/safetensors-dtype.js';
import { serializeSafetensors } from '../src/safetensors-writer.js';
import { mutate } from './fuzz-safetensors.js';

const TARGETS: readonly ConversionTarget[] = ['bf16', 'f16', 'f32', 'fp8-block'];
const SHARDS = ['a.safetensors', 'b.safetensors'] as const;
const HOSTILE_SHARDS = [
  '../a.safetensors',
  '/etc/passwd',
  'c.safetensors',
  '.safetensors',
  'a\0.safetensors',
  '',
];

type Tensor = [name: string, dtype: SafetensorsDtype, shape: number[], bytes: number];

/**
 * Breaks checkpoints of two shards as a whole (scales missing, of another shape or type or in another shard, shards
 * missing or misnamed, empty tensors, bytes changed anywhere), then opens, inspects and converts them.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError comes out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  return fuzzed(seed, iterations, MoestackError.isInstance, (below) =>
    useCheckpoint(checkpointFiles(below), TARGETS[below(TARGETS.length)]!),
  );
}

async function useCheckpoint(
  files: Readonly<Record<string, Uint8Array>>,
  target: ConversionTarget,
): Promise<void> {
  const sources: Record<string, ByteSource> = {};
  for (const [name, bytes] of Object.entries(files)) sources[name] = memorySource(bytes);
  const checkpoint = await openCheckpoint(sources);
  const report = await inspectCheckpoint(checkpoint);
  inspectionTable(report);
  inspectionHtml(report);
  for (const { tensors, layout } of planConversion(checkpoint, target)) {
    const file = new Uint8Array(layout.fileBytes);
    file.set(layout.header);
    for (const tensor of tensors) {
      await convertTensor(checkpoint, tensor, layout, async (bytes, position) => {
        if (position + bytes.length > file.length) throw new Error('written beyond the end of the file');
        file.set(bytes, position);
      });
    }
    await openCheckpoint({ 'model.safetensors': memorySource(file) });
  }
  const config = files[CONFIG_FILE];
  if (config !== undefined) convertConfig(config, target);
}

function checkpointFiles(below: Below): Record<string, Uint8Array> {
  const tensors = tensorsOf(below);
  const shards: Tensor[][] = [[], []];
  const weightMap: Record<string, string> = {};
  for (const tensor of tensors) {
    const shard = below(2);
    shards[shard]!.push(tensor);
    weightMap[tensor[0]] = SHARDS[shard]!;
  }
  const files: Record<string, Uint8Array> = {};
  shards.forEach((list, shard) => {
    const data = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, () => below(256));
    files[SHARDS[shard]!] = serializeSafetensors(
      list.map(([name, dtype, shape, bytes]) => ({ name, dtype, shape, data: data(bytes) })),
    );
  });
  const names = Object.keys(weightMap);
  if (below(8) === 0) weightMap[names[below(names.length)]!] = HOSTILE_SHARDS[below(HOSTILE_SHARDS.length)]!;
  if (below(8) === 0) weightMap['absent.weight'] = SHARDS[below(2)]!;
  files[INDEX_FILE] = new TextEncoder().encode(JSON.stringify({ weight_map: weightMap }));
  const block = below(6) === 0 ? [below(4), 2 ** below(40)] : [4, 4];
  const quantization = { quant_method: 'fp8', weight_block_size: block };
  files[CONFIG_FILE] = new TextEncoder().encode(JSON.stringify({ x: 1, quantization_config: quantization }));
  const all = Object.keys(files);
  if (below(10) === 0) delete files[all[below(all.length)]!];
  if (below(3) === 0) {
    const name = all[below(all.length)]!;
    if (files[name] !== undefined) files[name] = mutate(files[name], below);
  }
  return files;
}

function tensorsOf(below: Below): Tensor[] {
  const [rows, cols] = [below(10), below(10)];
  const blocks = [Math.ceil(rows / 4), Math.ceil(cols / 4)];
  const count = blocks[0]! * blocks[1]!;
  const tensors: Tensor[] = [
    ['q_proj.weight', 'F8_E4M3', [rows, cols], rows * cols],
    ['o_proj.weight', 'BF16', [3, 5], 30],
    ['norm.weight', 'F32', [below(3)], 0],
    ['wide.weight', 'F16', [2, 3, 4], 48],
  ];
  tensors[2]![3] = tensors[2]![2][0]! * 4;
  const scales: Tensor[] = [
    ['q_proj.weight_scale_inv', 'F32', blocks, count * 4],
    ['q_proj.weight_scale_inv', 'BF16', blocks, count * 2],
    ['q_proj.weight_scale_inv', 'F8_E8M0', blocks, count],
    ['q_proj.weight_scale_inv', 'F32', [1], 4],
    ['q_proj.weight_scale_inv', 'F32', [blocks[1]!, blocks[0]!], count * 4],
    ['q_proj.weight_scale_inv', 'F32', [below(3), below(3)], 0],
    ['q_proj.weight_scale_inv', 'I64', blocks, count * 8],
    ['other.weight_scale_inv', 'F32', blocks, count * 4],
  ];
  const scale = scales[below(scales.length)]!;
  if (scale[3] === 0) scale[3] = scale[2].reduce((product, size) => product * size, 1) * 4;
  if (scale[1] === 'F8_E8M0') scale[3] = count;
  tensors.push(scale);
  return tensors;
}
