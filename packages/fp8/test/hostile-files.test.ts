import { execFileSync } from 'node:child_process';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  statfs,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath } from '@moestack/fixtures';
import { memorySource, openCheckpoint, serializeSafetensors } from '@moestack/fp8';
import { convertCheckpoint, inspectCheckpoint, openCheckpoint as openDirectory } from '@moestack/fp8/node';
import { MoestackError } from '@moestack/schemas/errors';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const golden = fixturePath('fp8/checkpoint');
const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fp8-hostile-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (MoestackError.isInstance(error)) return error.code;
    throw error;
  }
  return 'accepted';
}

const single = serializeSafetensors([
  { name: 'x_proj.weight', dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
]);

describe('links and special files', () => {
  test('shards may be links, as download caches have them', async () => {
    const path = join(root, 'snapshot');
    await mkdir(path);
    for (const name of [...shards, 'model.safetensors.index.json', 'config.json']) {
      await symlink(join(golden, name), join(path, name));
    }
    await convertCheckpoint({ from: path, to: join(root, 'to'), target: 'bf16' });
    const converted = await openDirectory(join(root, 'to'));
    expect(converted.names()).toHaveLength(5);
    await converted.close();
  });

  test.skipIf(process.platform === 'win32')(
    'a named pipe is refused, not waited for',
    async () => {
      const pipe = join(root, 'model.safetensors');
      execFileSync('mkfifo', [pipe]);
      expect(await codeOf(openDirectory(root))).toBe('fp8/read-failed');
      expect(await codeOf(convertCheckpoint({ from: root, to: join(root, 'to'), target: 'bf16' }))).toBe(
        'fp8/read-failed',
      );
    },
    10_000,
  );

  test('a link in place of a partial file or a shard of the result is replaced, not followed', async () => {
    const [from, to, victim] = [join(root, 'model.safetensors'), join(root, 'to'), join(root, 'victim')];
    await writeFile(from, single);
    await convertCheckpoint({ from, to, target: 'bf16' });
    const whole = await readFile(join(to, 'model.safetensors'));
    await writeFile(victim, 'precious');
    await rm(join(to, 'model.safetensors'));
    await symlink(victim, join(to, 'model.safetensors'));
    await symlink(victim, join(to, 'model.safetensors.partial'));
    await convertCheckpoint({ from, to, target: 'bf16' });
    expect(await readFile(victim, 'utf8')).toBe('precious');
    expect(await readFile(join(to, 'model.safetensors'))).toEqual(whole);
    await expect(readlink(join(to, 'model.safetensors'))).rejects.toMatchObject({ code: 'EINVAL' });
  });

  test('a link to a complete copy elsewhere is not taken for the result', async () => {
    const [from, to] = [join(root, 'model.safetensors'), join(root, 'to')];
    await writeFile(from, single);
    await convertCheckpoint({ from, to, target: 'bf16' });
    const elsewhere = join(root, 'elsewhere');
    await cp(join(to, 'model.safetensors'), elsewhere);
    await rm(join(to, 'model.safetensors'));
    await symlink(elsewhere, join(to, 'model.safetensors'));
    expect((await convertCheckpoint({ from, to, target: 'bf16' })).bytesWritten).toBeGreaterThan(0);
  });

  test.each([
    '../x.safetensors',
    '/x.safetensors',
    'a/x.safetensors',
    '..\\x.safetensors',
    'C:x.safetensors',
    '.x.safetensors',
    'x.safetensors\0',
    'x.bin',
    '',
  ])('an index that names %j is refused before any file is opened', async (shard) => {
    const index = new TextEncoder().encode(JSON.stringify({ weight_map: { x: shard } }));
    await writeFile(join(root, 'model.safetensors.index.json'), index);
    await writeFile(join(root, 'x.safetensors'), single);
    for (const use of [openDirectory, inspectCheckpoint])
      expect(await codeOf(use(root))).toBe('fp8/bad-shard-name');
    const target = { from: root, to: join(root, 'to'), target: 'bf16' } as const;
    expect(await codeOf(convertCheckpoint(target))).toBe('fp8/bad-shard-name');
  });
});

test('a result that does not fit on the disk is refused before anything is written', async () => {
  // Eight terabytes of nothing, where the file system can do that.
  const bytes = 2 ** 43;
  const header = JSON.stringify({ x: { dtype: 'BF16', shape: [bytes / 2], data_offsets: [0, bytes] } });
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  const from = join(root, 'huge.safetensors');
  await writeFile(from, Buffer.concat([prefix, Buffer.from(header)]));
  const grown = await truncate(from, 8 + header.length + bytes).then(
    () => true,
    () => false,
  );
  const { bavail, bsize } = await statfs(root);
  if (!grown || bavail * bsize > 2 * bytes) return;
  const to = join(root, 'new', 'to');
  expect(await codeOf(convertCheckpoint({ from, to, target: 'f32' }))).toBe('fp8/no-space');
  await expect(readdir(join(root, 'new'))).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('damage to the golden checkpoint', () => {
  test('cut at any byte of a shard it is refused, and nothing is written', async () => {
    const names = ['model.safetensors.index.json', 'config.json', shards[1]];
    const files = Object.fromEntries(
      await Promise.all(
        names.map(async (name) => [name, memorySource(await readFile(join(golden, name)))] as const),
      ),
    );
    const shard = await readFile(join(golden, shards[0]));
    const header = 8 + Number(shard.readBigUInt64LE());
    const cuts = [...Array(header + 1).keys(), header + 1, shard.length - 1];
    for (const length of cuts) {
      const sources = { ...files, [shards[0]]: memorySource(shard.subarray(0, length)) };
      expect(await codeOf(openCheckpoint(sources)), `cut at ${length}`).toMatch(/^fp8\//);
    }
  });

  test.each([
    ['missing', () => [], 'fp8/missing-scale'],
    ['in the other shard, of the wrong shape', () => [scale('F32', [2, 2])], 'fp8/bad-scale'],
    ['in the other shard, transposed', () => [scale('F32', [1, 2])], 'fp8/bad-scale'],
    ['in the other shard, of a type that scales cannot have', () => [scale('I32', [2, 1])], 'fp8/bad-scale'],
    ['in the other shard, empty', () => [scale('F32', [0, 1])], 'fp8/bad-scale'],
    ['in the other shard', () => [scale('F32', [2, 1])], 'accepted'],
  ] as const)('scales %s', async (_, scales, code) => {
    const weight = {
      name: 'x_proj.weight',
      dtype: 'F8_E4M3',
      shape: [200, 3],
      data: new Uint8Array(600),
    } as const;
    const other = { name: 'y', dtype: 'F32', shape: [1], data: new Float32Array(1) } as const;
    const lists = [[weight], [other, ...scales()]];
    const weightMap: Record<string, string> = {};
    for (const [i, list] of lists.entries()) {
      await writeFile(join(root, shards[i]!), serializeSafetensors(list));
      for (const { name } of list) weightMap[name] = shards[i]!;
    }
    await writeFile(join(root, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
    await writeFile(join(root, 'config.json'), '{"quantization_config":{"quant_method":"fp8"}}');
    for (const target of ['bf16', 'fp8-block'] as const) {
      expect(await codeOf(convertCheckpoint({ from: root, to: join(root, `to-${target}`), target }))).toBe(
        code,
      );
    }
    const report = await inspectCheckpoint(root);
    expect(report.tensors.find(({ name }) => name === 'x_proj.weight')!.note === undefined).toBe(
      code === 'accepted',
    );
  });
});

function scale(dtype: 'F32' | 'I32', shape: number[]) {
  const data = new Uint8Array(shape.reduce((product, size) => product * size, 1) * 4);
  return { name: 'x_proj.weight_scale_inv', dtype, shape, data } as const;
}
