import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath } from '@moestack/fixtures';
import { Fp8Error, type SafetensorsDtype, serializeSafetensors } from '@moestack/fp8';
import { convertCheckpoint, openCheckpoint } from '@moestack/fp8/node';
import { MoestackError } from '@moestack/schemas/errors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const golden = fixturePath('fp8/checkpoint');
const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
const manifest = '.moestack-conversion.json';
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fp8-convert-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function tensorsOf(path: string): Promise<Record<string, unknown>> {
  const checkpoint = await openCheckpoint(path);
  const tensors: Record<string, unknown> = {};
  for (const name of checkpoint.names().sort()) {
    const { dtype, shape } = checkpoint.info(name);
    tensors[name] = { dtype, shape, data: Buffer.from(await checkpoint.read(name)).toString('base64') };
  }
  await checkpoint.close();
  return tensors;
}

async function filesOf(path: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of (await readdir(path)).sort()) {
    files[name] = (await readFile(join(path, name))).toString('base64');
  }
  return files;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (MoestackError.isInstance(error)) return error.code;
    throw error;
  }
  return 'accepted';
}

type Tensor = [name: string, dtype: SafetensorsDtype, shape: number[], data: ArrayBufferView];

async function model(name: string, tensors: readonly Tensor[], config?: string): Promise<string> {
  const folder = join(root, name);
  await mkdir(folder);
  const list = tensors.map(([tensor, dtype, shape, data]) => ({ name: tensor, dtype, shape, data }));
  await writeFile(join(folder, 'model.safetensors'), serializeSafetensors(list));
  if (config !== undefined) await writeFile(join(folder, 'config.json'), config);
  return folder;
}

const noise = (length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(i * 12.9898) * 2 ** ((i % 13) - 6));

describe('the golden two-shard FP8 checkpoint', () => {
  test('converts to byte-equal BF16, sharded as before', async () => {
    const to = join(root, 'bf16');
    const seen: number[] = [];
    const result = await convertCheckpoint({
      from: golden,
      to,
      target: 'bf16',
      onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes),
    });
    expect(await tensorsOf(to)).toEqual(await tensorsOf(join(golden, 'expected-bf16.safetensors')));
    const sizes = await Promise.all(shards.map(async (file) => (await stat(join(to, file))).size));
    expect(result).toEqual({ tensors: 5, bytesWritten: sizes[0]! + sizes[1]! });
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    const index = JSON.parse(await readFile(join(to, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: unknown;
      weight_map: Record<string, string>;
    };
    expect(index.metadata).toEqual({ total_size: 201408 });
    expect(index.weight_map['model.norm.weight']).toBe(shards[0]);
    expect(Object.keys(index.weight_map)).toHaveLength(5);
    expect(JSON.parse(await readFile(join(to, 'config.json'), 'utf8'))).toEqual({ torch_dtype: 'bfloat16' });
    for (const file of shards) {
      const bytes = await readFile(join(to, file));
      expect(Number(bytes.readBigUInt64LE()) % 8).toBe(0);
    }
  });

  test.each([
    ['f32', 'F32', 'float32'],
    ['f16', 'F16', 'float16'],
  ] as const)('converts to %s, the router bias kept', async (target, dtype, torch) => {
    const to = join(root, target);
    await convertCheckpoint({ from: golden, to, target });
    const [source, result] = [await openCheckpoint(golden), await openCheckpoint(to)];
    for (const name of result.names()) {
      const bias = name.endsWith('_bias');
      expect(result.info(name).dtype).toBe(bias ? 'F32' : dtype);
      const wanted = await source.readFloat32(name);
      const values = await result.readFloat32(name);
      // Half a unit in the last place, or half the smallest subnormal, of the target.
      const relative = target === 'f32' ? 0 : 2 ** -11;
      const off = values.findIndex((value, i) => {
        const bound = relative === 0 ? 0 : Math.abs(wanted[i]!) * relative + 2 ** -25;
        return Math.abs(value - wanted[i]!) > bound;
      });
      expect(off).toBe(-1);
    }
    await source.close();
    await result.close();
    expect(JSON.parse(await readFile(join(to, 'config.json'), 'utf8'))).toEqual({ torch_dtype: torch });
  });

  test('stays as it is when converted to fp8-block', async () => {
    const to = join(root, 'fp8');
    await convertCheckpoint({ from: golden, to, target: 'fp8-block' });
    expect(await tensorsOf(to)).toEqual(await tensorsOf(golden));
  });

  test('bf16 to fp8-block to bf16 changes nothing', async () => {
    const [a, b, c] = [join(root, 'a'), join(root, 'b'), join(root, 'c')];
    await convertCheckpoint({ from: golden, to: a, target: 'bf16' });
    await convertCheckpoint({ from: a, to: b, target: 'fp8-block' });
    await convertCheckpoint({ from: b, to: c, target: 'bf16' });
    expect(await tensorsOf(c)).toEqual(await tensorsOf(a));
    expect(JSON.parse(await readFile(join(b, 'config.json'), 'utf8'))).toMatchObject({
      quantization_config: { quant_method: 'fp8', fmt: 'e4m3', weight_block_size: [128, 128] },
    });
  });
});

test.each(['tiny-v3', 'tiny-v2-lite'])(
  'quantises the BF16 weights of %s as the reference did',
  async (name) => {
    const from = fixturePath(`routing-model/${name}/model.safetensors`);
    const to = join(root, 'fp8');
    await convertCheckpoint({ from, to, target: 'fp8-block' });
    const [result, wanted] = [await tensorsOf(to), await tensorsOf(fixturePath(`routing-model/${name}/fp8`))];
    expect(Object.keys(result)).toEqual(Object.keys(wanted));
    for (const tensor of Object.keys(wanted)) expect(result[tensor], tensor).toEqual(wanted[tensor]);
  },
);

describe('interruption', () => {
  test('an aborted conversion is taken up again and ends as an uninterrupted one', async () => {
    const [whole, parts] = [join(root, 'whole'), join(root, 'parts')];
    const full = await convertCheckpoint({ from: golden, to: whole, target: 'bf16' });
    const controller = new AbortController();
    const aborted = convertCheckpoint({
      from: golden,
      to: parts,
      target: 'bf16',
      signal: controller.signal,
      onProgress: ({ doneBytes, totalBytes }) => {
        if (doneBytes > 0.8 * totalBytes) controller.abort();
      },
    });
    expect(await codeOf(aborted)).toBe('aborted');
    expect((await readdir(parts)).sort()).toEqual([manifest, shards[0]]);
    // What a kill leaves: a partial file, here of the second shard.
    await writeFile(join(parts, `${shards[1]}.partial`), 'half');
    const first = await stat(join(parts, shards[0]));
    const result = await convertCheckpoint({ from: golden, to: parts, target: 'bf16' });
    expect((await stat(join(parts, shards[0]))).mtimeMs).toBe(first.mtimeMs);
    expect(result).toEqual({ tensors: full.tensors, bytesWritten: full.bytesWritten - first.size });
    expect(await filesOf(parts)).toEqual(await filesOf(whole));
    expect(await convertCheckpoint({ from: golden, to: parts, target: 'bf16' })).toEqual({
      tensors: 5,
      bytesWritten: 0,
    });
  });

  test('a truncated shard is written again', async () => {
    const [whole, cut] = [join(root, 'whole'), join(root, 'cut')];
    await convertCheckpoint({ from: golden, to: whole, target: 'bf16' });
    await convertCheckpoint({ from: golden, to: cut, target: 'bf16' });
    await writeFile(join(cut, shards[0]), (await readFile(join(cut, shards[0]))).subarray(0, 1000));
    await convertCheckpoint({ from: golden, to: cut, target: 'bf16' });
    expect(await filesOf(cut)).toEqual(await filesOf(whole));
  });

  test('nothing is written once the signal has fired', async () => {
    const to = join(root, 'to');
    const signal = AbortSignal.abort();
    expect(await codeOf(convertCheckpoint({ from: golden, to, target: 'bf16', signal }))).toBe('aborted');
    expect(await readdir(root)).toEqual([]);
  });
});

describe('what is refused, with nothing changed', () => {
  test('a folder of something else, another target, a changed source, the source itself', async () => {
    const from = await model('from', [['x_proj.weight', 'F32', [2, 2], noise(4)]]);
    const foreign = join(root, 'foreign');
    await mkdir(foreign);
    await writeFile(join(foreign, 'notes.txt'), 'mine');
    expect(await codeOf(convertCheckpoint({ from, to: foreign, target: 'bf16' }))).toBe(
      'fp8/target-not-empty',
    );
    expect(await readdir(foreign)).toEqual(['notes.txt']);
    const to = join(root, 'to');
    await convertCheckpoint({ from, to, target: 'bf16' });
    const before = await filesOf(to);
    expect(await codeOf(convertCheckpoint({ from, to, target: 'f16' }))).toBe('fp8/conversion-mismatch');
    await utimes(join(from, 'model.safetensors'), 1, 1);
    expect(await codeOf(convertCheckpoint({ from, to, target: 'bf16' }))).toBe('fp8/conversion-mismatch');
    expect(await filesOf(to)).toEqual(before);
    for (const same of [from, `${from}/.`, join(from, '..', 'from')]) {
      expect(await codeOf(convertCheckpoint({ from, to: same, target: 'bf16' }))).toBe('fp8/same-folder');
    }
    const file = join(foreign, 'notes.txt');
    expect(await codeOf(convertCheckpoint({ from, to: file, target: 'bf16' }))).toBe('fp8/bad-target-folder');
  });

  test('bad options and damaged sources', async () => {
    const to = join(root, 'to');
    const bad = { from: golden, to, target: 'int4' } as unknown as Parameters<typeof convertCheckpoint>[0];
    expect(await codeOf(convertCheckpoint(bad))).toBe('fp8/bad-target');
    expect(await codeOf(convertCheckpoint({ ...bad, target: 'bf16', to: '' }))).toBe('fp8/bad-path');
    const missing = { from: join(root, 'none'), to, target: 'bf16' } as const;
    expect(await codeOf(convertCheckpoint(missing))).toBe('fp8/missing-file');
    const weight: Tensor = ['a.weight', 'F8_E4M3', [2, 2], new Uint8Array(4)];
    const fp8 = '{"quantization_config":{"quant_method":"fp8"}}';
    const cases: [Tensor[], string][] = [
      [[weight], 'fp8/missing-scale'],
      [[weight, ['a.weight_scale_inv', 'F32', [2, 2], noise(4)]], 'fp8/bad-scale'],
      [[], 'fp8/no-tensors'],
    ];
    for (const [i, [tensors, code]] of cases.entries()) {
      const from = await model(`bad${i}`, tensors, fp8);
      expect(await codeOf(convertCheckpoint({ from, to, target: 'bf16' }))).toBe(code);
    }
    const stray = await model('stray', [
      ['a_proj.weight', 'F32', [2, 2], noise(4)],
      ['a_proj.weight_scale_inv', 'F32', [1, 1], noise(1)],
    ]);
    expect(await codeOf(convertCheckpoint({ from: stray, to, target: 'fp8-block' }))).toBe('fp8/stray-scale');
    const list = await model('list', [weight], '[]');
    expect(await codeOf(convertCheckpoint({ from: list, to, target: 'bf16' }))).toBe('fp8/bad-json');
    expect(await readdir(root)).not.toContain('to');
  });
});

describe('details', () => {
  test('ragged, wide, empty, scalar, integer and double tensors', async () => {
    const wide = noise(130 * 8200);
    const from = await model('from', [
      ['odd', 'U8', [3], Uint8Array.of(1, 2, 3)],
      ['ids', 'I64', [1], BigInt64Array.of(2n ** 60n)],
      ['empty_proj.weight', 'F32', [0, 4], new Uint8Array()],
      ['scalar', 'F32', [], Float32Array.of(1.5)],
      ['double', 'F64', [2], Float64Array.of(1 + 2 ** -8 + 2 ** -40, Number.NEGATIVE_INFINITY)],
      ['wide_proj.weight', 'F32', [130, 8200], wide],
      ['eh_proj.weight', 'F32', [2, 2], noise(4)],
      ['__proto__', 'F16', [1], Uint16Array.of(0x3c00)],
    ]);
    await convertCheckpoint({ from, to: join(root, 'bf16'), target: 'bf16' });
    const bf16 = await openCheckpoint(join(root, 'bf16'));
    expect([...(await bf16.readFloat32('double'))]).toEqual([1 + 2 ** -7, Number.NEGATIVE_INFINITY]);
    expect([...(await bf16.readFloat32('scalar'))]).toEqual([1.5]);
    expect([...(await bf16.read('odd'))]).toEqual([1, 2, 3]);
    expect(bf16.info('__proto__').dtype).toBe('BF16');
    await bf16.close();
    await convertCheckpoint({ from, to: join(root, 'fp8'), target: 'fp8-block' });
    const fp8 = await openCheckpoint(join(root, 'fp8'));
    expect(fp8.info('wide_proj.weight_scale_inv').shape).toEqual([2, 65]);
    expect(fp8.info('eh_proj.weight').dtype).toBe('F32');
    expect(fp8.info('empty_proj.weight').dtype).toBe('F32');
    const back = await fp8.readFloat32('wide_proj.weight');
    await fp8.close();
    let worst = 0;
    for (let i = 0; i < wide.length; i++) worst = Math.max(worst, Math.abs(back[i]! - wide[i]!));
    // Half a unit in the last place of the largest binade, 2^8 to 448, at a scale of at most 64 / 448.
    expect(worst).toBeLessThanOrEqual((16 * 64) / 448 + 1e-6);
  });

  test('config.json keeps what it does not own as written; small files come along, weights do not', async () => {
    const text =
      '{"a": 12345678901234567890, "eps": 1e-06, "quantization_config": {"x": 1}, "dtype": "float32"}';
    const from = await model('from', [['x', 'F32', [1], noise(1)]], text);
    await writeFile(join(from, 'tokenizer.json'), '{"t":1}');
    await writeFile(join(from, 'pytorch_model.bin'), 'weights');
    await copyFile(join(from, 'model.safetensors'), join(from, 'consolidated.safetensors'));
    const to = join(root, 'deep', 'to');
    await convertCheckpoint({ from, to, target: 'bf16' });
    expect((await readdir(to)).sort()).toEqual([
      manifest,
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    expect(await readFile(join(to, 'config.json'), 'utf8')).toBe(
      '{\n  "a": 12345678901234567890,\n  "eps": 1e-06,\n  "dtype": "bfloat16"\n}\n',
    );
    expect(await readFile(join(to, 'tokenizer.json'), 'utf8')).toBe('{"t":1}');
  });

  test('serializeSafetensors refuses data that does not fit its shape, and names twice', () => {
    const x = { name: 'x', dtype: 'F32', shape: [2], data: noise(2) } as const;
    expect(() => serializeSafetensors([{ ...x, shape: [3] }])).toThrow(Fp8Error);
    expect(() => serializeSafetensors([{ ...x, shape: [-1] }])).toThrow(Fp8Error);
    expect(() => serializeSafetensors([x, x])).toThrow(Fp8Error);
  });
});
