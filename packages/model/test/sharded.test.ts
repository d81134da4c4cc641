import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.js';

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };

const source = fileURLToPath(tinyMoe);
const folder = mkdtempSync(join(tmpdir(), 'moestack-sharded-'));

/** Splits the shipped checkpoint so that neighbouring tensors, and scales from their weights, lie in other shards. */
function splitIntoShards(count: number): void {
  const bytes = readFileSync(join(source, 'model.safetensors'));
  const headerLength = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + headerLength).toString()) as Record<string, Entry>;
  const shards = Array.from({ length: count }, () => ({
    header: {} as Record<string, Entry>,
    parts: [] as Buffer[],
    size: 0,
  }));
  const weight_map: Record<string, string> = {};
  const file = (index: number): string => `model-0000${index + 1}-of-0000${count}.safetensors`;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  for (const [position, [name, { dtype, shape, data_offsets }]] of entries.entries()) {
    const shard = shards[position % count]!;
    const [start, end] = data_offsets;
    shard.header[name] = { dtype, shape, data_offsets: [shard.size, shard.size + end - start] };
    shard.parts.push(bytes.subarray(8 + headerLength + start, 8 + headerLength + end));
    shard.size += end - start;
    weight_map[name] = file(position % count);
  }
  for (const [index, shard] of shards.entries()) {
    const head = Buffer.from(JSON.stringify(shard.header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(head.length));
    writeFileSync(join(folder, file(index)), Buffer.concat([length, head, ...shard.parts]));
  }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map }));
  copyFileSync(join(source, 'config.json'), join(folder, 'config.json'));
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('a sharded block-FP8 checkpoint', () => {
  it('gives the same bits as the single file', async () => {
    splitIntoShards(3);
    const tokens = Int32Array.from({ length: 40 }, (_, i) => (i * 97 + 5) % 1024);
    const whole = await loadModel(source);
    const sharded = await loadModel(folder);
    expect(await sharded.logits(tokens)).toEqual(await whole.logits(tokens));
    await whole.close();
    await sharded.close();
  });

  it('names a shard that is missing', async () => {
    rmSync(join(folder, 'model-00002-of-00003.safetensors'));
    await expect(loadModel(folder)).rejects.toThrow('model-00002-of-00003.safetensors');
  });
});
