import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath, readFixture } from '@moestack/fixtures';
import { type ByteSource, CheckpointError, Fp8Error, memorySource, openCheckpoint } from '@moestack/fp8';
import { openCheckpoint as openDirectory } from '@moestack/fp8/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const folder = 'fp8/checkpoint';
const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
const indexName = 'model.safetensors.index.json';
const scaled = 'model.layers.1.mlp.experts.3.gate_proj.weight';

function fixtureSources(...names: string[]): Record<string, ByteSource> {
  return Object.fromEntries(names.map((name) => [name, memorySource(readFixture(`${folder}/${name}`))]));
}

/** A safetensors file of the given tensors. */
function file(
  tensors: Record<string, { dtype: string; shape: number[]; data: ArrayBufferView }>,
): Uint8Array {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, (offset += data.byteLength)] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + offset);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 8);
  let position = 8 + json.length;
  for (const { data } of Object.values(tensors)) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), position);
    position += data.byteLength;
  }
  return bytes;
}

function open(tensors: Parameters<typeof file>[0], config?: object): ReturnType<typeof openCheckpoint> {
  const sources: Record<string, ByteSource> = { 'model.safetensors': memorySource(file(tensors)) };
  if (config !== undefined) {
    sources['config.json'] = memorySource(new TextEncoder().encode(JSON.stringify(config)));
  }
  return openCheckpoint(sources);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (Fp8Error.isInstance(error)) return error.code;
    throw error;
  }
  return 'accepted';
}

/** float32 to bfloat16 bits, nearest even, for finite values. */
function bf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16);
}

describe('the two-shard FP8 checkpoint', () => {
  test.each([
    ['a folder', () => openDirectory(fixturePath(folder))],
    ['its index file', () => openDirectory(fixturePath(`${folder}/${indexName}`))],
    ['byte sources', () => openCheckpoint(fixtureSources(...shards, indexName, 'config.json'))],
  ])('dequantises exactly as the reference, from %s', async (_, opening) => {
    const checkpoint = await opening();
    const expected = await openDirectory(fixturePath(`${folder}/expected-bf16.safetensors`));
    const weights = checkpoint.names().filter((name) => !name.endsWith('_scale_inv'));
    expect(weights.sort()).toEqual(expected.names().sort());
    for (const name of weights) {
      const wanted = expected.info(name);
      expect(checkpoint.info(name).shape).toEqual(wanted.shape);
      const values = await checkpoint.readFloat32(name);
      const raw = await expected.read(name);
      if (wanted.dtype === 'BF16')
        expect(bf16(values)).toEqual(new Uint16Array(raw.buffer, raw.byteOffset, raw.length / 2));
      else expect(values).toEqual(await expected.readFloat32(name));
    }
    await checkpoint.close();
    await expected.close();
  });

  test('finds scales in the other shard and tells where tensors are', async () => {
    const checkpoint = await openDirectory(fixturePath(folder));
    expect(checkpoint.info(scaled)).toEqual({
      dtype: 'F8_E4M3',
      shape: [130, 128],
      bytes: 16640,
      file: shards[0],
    });
    expect(checkpoint.info(`${scaled}_scale_inv`).file).toBe(shards[1]);
    expect(checkpoint.quantization).toEqual({ method: 'fp8', block: [128, 128] });
    await checkpoint.close();
  });

  test('aligns what a source answers with as misaligned Buffers, whose slice() copies nothing', async () => {
    const sources = Object.entries(fixtureSources(...shards, indexName, 'config.json'));
    const misaligned = sources.map(([name, source]): [string, ByteSource] => [
      name,
      {
        size: source.size,
        read: async (offset, length) => {
          const pool = Buffer.alloc(length + 16);
          const first = 1 + ((8 - (pool.byteOffset % 8)) % 8);
          pool.set(await source.read(offset, length), first);
          return pool.subarray(first, first + length);
        },
      },
    ]);
    const checkpoint = await openCheckpoint(Object.fromEntries(misaligned));
    const expected = await openDirectory(fixturePath(folder));
    for (const name of checkpoint.names()) {
      const raw = await checkpoint.read(name);
      expect(raw.byteOffset % 8).toBe(0);
      expect([...raw]).toEqual([...(await expected.read(name))]);
      expect(await checkpoint.readFloat32(name)).toEqual(await expected.readFloat32(name));
    }
    await checkpoint.close();
    await expected.close();
  });

  test('reads raw bytes whole, in parts, and into shared memory', async () => {
    const checkpoint = await openDirectory(fixturePath(folder));
    const whole = await checkpoint.read(scaled);
    const part = new Uint8Array(new SharedArrayBuffer(100), 4, 64);
    await checkpoint.readInto(scaled, part, 1000);
    expect([...part]).toEqual([...whole.subarray(1000, 1064)]);
    expect(whole.byteOffset % 8).toBe(0);
    await checkpoint.close();
    expect(await codeOf(checkpoint.read(scaled))).toBe('fp8/closed');
    await checkpoint.close();
  });

  test.each([
    [-1, 4],
    [0.5, 4],
    [16639, 2],
    [Number.NaN, 1],
  ])('rejects the range from %s of %s bytes', async (start, length) => {
    const checkpoint = await openCheckpoint(fixtureSources(...shards, indexName));
    expect(await codeOf(checkpoint.readInto(scaled, new Uint8Array(length), start))).toBe('fp8/bad-range');
  });

  test('an unknown tensor is an error that says so', async () => {
    const checkpoint = await openCheckpoint(fixtureSources(...shards, indexName));
    expect(() => checkpoint.info('nope')).toThrow('the checkpoint has no tensor "nope"');
    expect(checkpoint.has('nope')).toBe(false);
    expect(await codeOf(checkpoint.readFloat32('__proto__'))).toBe('fp8/unknown-tensor');
  });
});

describe('stored dtypes as float32', () => {
  const values = [1, -2, 0.5];
  test.each([
    ['F32', Float32Array.from(values), values],
    ['F64', Float64Array.from(values), values],
    ['F16', Uint16Array.of(0x3c00, 0xc000, 0x3800), values],
    ['BF16', Uint16Array.of(0x3f80, 0xc000, 0x3f00), values],
    ['F8_E4M3', Uint8Array.of(0x38, 0xc0, 0x30), values],
    ['F8_E5M2', Uint8Array.of(0x3c, 0xc0, 0x38), values],
    ['F8_E4M3FNUZ', Uint8Array.of(0x40, 0xc8, 0x38), values],
    ['F8_E5M2FNUZ', Uint8Array.of(0x40, 0xc4, 0x3c), values],
    ['F8_E8M0', Uint8Array.of(127, 0, 254), [1, 2 ** -127, 2 ** 127]],
    ['F4', Uint8Array.of(0xc2, 0x01), [1, -2, 0.5, 0]],
    ['I8', Int8Array.of(-1, 2, 3), [-1, 2, 3]],
    ['U8', Uint8Array.of(255, 2, 3), [255, 2, 3]],
    ['BOOL', Uint8Array.of(1, 0, 1), [1, 0, 1]],
    ['I16', Int16Array.of(-300, 2, 3), [-300, 2, 3]],
    ['U16', Uint16Array.of(65535, 2, 3), [65535, 2, 3]],
    ['I32', Int32Array.of(-70000, 2, 3), [-70000, 2, 3]],
    ['U32', Uint32Array.of(4294967295, 2, 3), [4294967296, 2, 3]],
    ['I64', BigInt64Array.of(-5n, 2n, 3n), [-5, 2, 3]],
    ['U64', BigUint64Array.of(2n ** 63n, 2n, 3n), [2 ** 63, 2, 3]],
  ])('%s', async (dtype, data, expected) => {
    // An odd-sized tensor before it misaligns the data in the file.
    const checkpoint = await open({
      pad: { dtype: 'U8', shape: [3], data: new Uint8Array(3) },
      x: { dtype, shape: [expected.length], data },
    });
    expect(checkpoint.info('x')).toMatchObject({ dtype, shape: [expected.length], bytes: data.byteLength });
    expect([...(await checkpoint.readFloat32('x'))]).toEqual(expected);
    const raw = await checkpoint.read('x');
    expect(raw.byteOffset % 8).toBe(0);
    expect(raw).toEqual(new Uint8Array(data.buffer));
  });

  test('C64 and packed 6-bit elements can be read raw only', async () => {
    const checkpoint = await open({
      c: { dtype: 'C64', shape: [1], data: new Uint8Array(8) },
      s: { dtype: 'F6_E2M3', shape: [4], data: new Uint8Array(3) },
    });
    expect((await checkpoint.read('s')).length).toBe(3);
    expect(await codeOf(checkpoint.readFloat32('c'))).toBe('fp8/no-float32-form');
    expect(await codeOf(checkpoint.readFloat32('s'))).toBe('fp8/no-float32-form');
  });

  test('tensors longer than one chunk are read whole', async () => {
    const data = Float32Array.from({ length: 3_000_001 }, (_, i) => i);
    const checkpoint = await open({ x: { dtype: 'F32', shape: [data.length], data } });
    expect(
      Buffer.compare(Buffer.from((await checkpoint.readFloat32('x')).buffer), Buffer.from(data.buffer)),
    ).toBe(0);
  });

  test('empty tensors and scalars', async () => {
    const checkpoint = await open({
      empty: { dtype: 'F32', shape: [0, 4], data: new Uint8Array() },
      scalar: { dtype: 'F32', shape: [], data: Float32Array.of(3) },
    });
    expect(await checkpoint.readFloat32('empty')).toEqual(new Float32Array(0));
    expect(await checkpoint.read('empty')).toEqual(new Uint8Array(0));
    expect(await checkpoint.readFloat32('scalar')).toEqual(Float32Array.of(3));
  });
});

describe('block scales', () => {
  const codes = new Uint8Array(12).fill(0x38);
  const weight = { dtype: 'F8_E4M3', shape: [3, 4], data: codes };
  const config = { quantization_config: { quant_method: 'fp8', weight_block_size: [2, 3] } };
  const expected = [1, 1, 1, 2, 1, 1, 1, 2, 4, 4, 4, 8];

  test.each([
    ['F32', Float32Array.of(1, 2, 4, 8)],
    ['F64', Float64Array.of(1, 2, 4, 8)],
    ['BF16', Uint16Array.of(0x3f80, 0x4000, 0x4080, 0x4100)],
    ['F16', Uint16Array.of(0x3c00, 0x4000, 0x4400, 0x4800)],
    ['F8_E8M0', Uint8Array.of(127, 128, 129, 130)],
  ])('of %s cover ragged blocks of the configured size', async (dtype, data) => {
    const scale = { dtype, shape: [2, 2], data };
    const checkpoint = await open({ 'w.weight': weight, 'w.weight_scale_inv': scale }, config);
    expect([...(await checkpoint.readFloat32('w.weight'))]).toEqual(expected);
    expect([...(await checkpoint.readFloat32('w.weight_scale_inv'))]).toEqual([1, 2, 4, 8]);
  });

  test('one scale covers a tensor of any rank', async () => {
    const checkpoint = await open({
      w: { dtype: 'F8_E5M2', shape: [2, 1, 2], data: new Uint8Array(4).fill(0x3c) },
      w_scale_inv: { dtype: 'F32', shape: [], data: Float32Array.of(3) },
    });
    expect([...(await checkpoint.readFloat32('w'))]).toEqual([3, 3, 3, 3]);
  });

  test.each([
    ['a wrong shape', { dtype: 'F32', shape: [2, 1], data: Float32Array.of(1, 2) }, 'fp8/bad-scale'],
    ['a wrong rank', { dtype: 'F32', shape: [4], data: Float32Array.of(1, 2, 3, 4) }, 'fp8/bad-scale'],
    ['a wrong dtype', { dtype: 'I32', shape: [2, 2], data: Int32Array.of(1, 2, 3, 4) }, 'fp8/bad-scale'],
  ])('of %s are rejected', async (_, scale, code) => {
    const checkpoint = await open({ 'w.weight': weight, 'w.weight_scale_inv': scale }, config);
    expect(await codeOf(checkpoint.readFloat32('w.weight'))).toBe(code);
  });

  test('missing scales are an error only where the configuration says fp8', async () => {
    expect(await codeOf((await open({ 'w.weight': weight }, config)).readFloat32('w.weight'))).toBe(
      'fp8/missing-scale',
    );
    expect([...(await (await open({ 'w.weight': weight })).readFloat32('w.weight'))]).toEqual(
      new Array(12).fill(1),
    );
  });

  test.each([[[0, 128]], [[128]], ['128'], [[1.5, 2]]])('weight_block_size %j is rejected', async (size) => {
    const bad = { quantization_config: { weight_block_size: size } };
    expect(await codeOf(open({ 'w.weight': weight }, bad))).toBe('fp8/bad-block-size');
  });
});

describe('inconsistent sources', () => {
  const json = (value: unknown): ByteSource => memorySource(new TextEncoder().encode(JSON.stringify(value)));
  const one = { x: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } };
  const source = memorySource(file(one));
  test.each([
    ['nothing', {}, 'fp8/no-checkpoint'],
    ['a missing shard', { [indexName]: json({ weight_map: { x: 'a.safetensors' } }) }, 'fp8/missing-shard'],
    [
      'a missing tensor',
      { [indexName]: json({ weight_map: { y: 'a.safetensors' } }), 'a.safetensors': source },
      'fp8/missing-tensor',
    ],
    [
      'a path upwards',
      { [indexName]: json({ weight_map: { x: '../a.safetensors' } }) },
      'fp8/bad-shard-name',
    ],
    [
      'an absolute path',
      { [indexName]: json({ weight_map: { x: '/a.safetensors' } }) },
      'fp8/bad-shard-name',
    ],
    [
      'a Windows path',
      { [indexName]: json({ weight_map: { x: 'C:\\a.safetensors' } }) },
      'fp8/bad-shard-name',
    ],
    ['a shard of another kind', { [indexName]: json({ weight_map: { x: 'a.bin' } }) }, 'fp8/bad-shard-name'],
    [
      'a shard with NUL',
      { [indexName]: json({ weight_map: { x: 'a\0.safetensors' } }) },
      'fp8/bad-shard-name',
    ],
    ['no weight_map', { [indexName]: json({}) }, 'fp8/bad-json'],
    ['a weight_map that is a list', { [indexName]: json({ weight_map: [] }) }, 'fp8/bad-json'],
    ['the same tensor twice', { 'a.safetensors': source, 'b.safetensors': source }, 'fp8/duplicate-tensor'],
    ['a negative size', { 'a.safetensors': { ...source, size: -1 } }, 'fp8/bad-source'],
    ['a size beyond the bytes', { 'a.safetensors': { ...source, size: 1e9 } }, 'fp8/bad-offsets'],
    ['an oversized index', { [indexName]: { ...source, size: 1e9 } }, 'fp8/file-too-large'],
    [
      'malformed config.json',
      { 'a.safetensors': source, 'config.json': memorySource(Uint8Array.of(0x7b)) },
      'fp8/bad-json',
    ],
  ] as [string, Record<string, ByteSource>, string][])('%s', async (_, sources, code) => {
    expect(await codeOf(openCheckpoint(sources))).toBe(code);
  });

  test('failing and short sources become typed errors with the cause', async () => {
    const failing: ByteSource = { size: 100, read: () => Promise.reject(new Error('gone')) };
    await expect(openCheckpoint({ 'a.safetensors': failing })).rejects.toMatchObject({
      code: 'fp8/read-failed',
      file: 'a.safetensors',
      cause: expect.objectContaining({ message: 'gone' }),
    });
    const short: ByteSource = { size: 100, read: () => Promise.resolve(new Uint8Array(3)) };
    expect(await codeOf(openCheckpoint({ 'a.safetensors': short }))).toBe('fp8/short-read');
  });
});

describe('folders', () => {
  let path = '';
  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'moestack-fp8-'));
  });
  afterEach(() => rm(path, { recursive: true }));

  const write = (name: string, data: string | Uint8Array): Promise<void> => writeFile(join(path, name), data);
  const single = file({ x: { dtype: 'F32', shape: [64], data: new Float32Array(64) } });

  test('a folder with one file', async () => {
    await write('model.safetensors', single);
    const checkpoint = await openDirectory(path);
    expect(checkpoint.names()).toEqual(['x']);
    expect(checkpoint.quantization.block).toEqual([128, 128]);
    await checkpoint.close();
  });

  test.each([
    ['nowhere', 'missing-folder', 'fp8/missing-file'],
    ['empty folder', '', 'fp8/no-checkpoint'],
  ])('%s', async (_, name, code) => {
    expect(await codeOf(openDirectory(join(path, name)))).toBe(code);
  });

  test('a missing shard is named', async () => {
    await write(indexName, JSON.stringify({ weight_map: { x: 'a.safetensors', y: 'b.safetensors' } }));
    await write('a.safetensors', single);
    await expect(openDirectory(path)).rejects.toMatchObject({
      code: 'fp8/missing-shard',
      file: 'b.safetensors',
    });
  });

  test('a path outside the folder is not followed', async () => {
    await mkdir(join(path, 'model'));
    await write('a.safetensors', single);
    await write(join('model', indexName), JSON.stringify({ weight_map: { x: '../a.safetensors' } }));
    expect(await codeOf(openDirectory(join(path, 'model')))).toBe('fp8/bad-shard-name');
  });

  test('a folder in place of a file, and files cut short', async () => {
    await mkdir(join(path, 'model.safetensors'));
    expect(await codeOf(openDirectory(path))).toBe('fp8/read-failed');
    for (const length of [0, 5, 8, 20, single.length - 1]) {
      await write('cut.safetensors', single.subarray(0, length));
      expect(await codeOf(openDirectory(join(path, 'cut.safetensors')))).toBe('fp8/truncated-file');
    }
  });

  test('a file cut after opening gives a short read', async () => {
    await write('model.safetensors', single);
    const checkpoint = await openDirectory(path);
    await truncate(join(path, 'model.safetensors'), single.length - 4);
    await expect(checkpoint.read('x')).rejects.toSatisfy(CheckpointError.isInstance);
    expect(await codeOf(checkpoint.readFloat32('x'))).toBe('fp8/short-read');
    await checkpoint.close();
  });
});
