import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ByteSource } from './byte-source.js';
import { CONFIG_FILE, INDEX_FILE, openCheckpoint as open, SINGLE_FILE } from './checkpoint.js';
import { MAX_JSON_FILE_BYTES, parseCheckpointIndex } from './checkpoint-index.js';
import { CheckpointError } from './errors.js';
import { fileSource } from './file-source.js';
import type { Checkpoint } from './safetensors-checkpoint.js';

/**
 * Opens a checkpoint on disk.
 *
 * @param path - a Hugging Face model folder (`model.safetensors.index.json` with its shards, or one
 * `model.safetensors`, beside `config.json`), or one `.safetensors` file.
 * @throws {@link CheckpointError} for missing or malformed files; nothing stays open then.
 *
 * @example
 * ```ts
 * import { openCheckpoint } from '@moestack/fp8/node';
 *
 * const checkpoint = await openCheckpoint('path/to/model');
 * for (const name of checkpoint.names()) console.log(name, checkpoint.info(name));
 * await checkpoint.close();
 * ```
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const sources: Record<string, Required<ByteSource>> = Object.create(null) as Record<
    string,
    Required<ByteSource>
  >;
  try {
    const { folder, names } = await listFiles(path);
    for (const name of names) sources[name] = await fileSource(join(folder, name), name);
    const index = sources[INDEX_FILE];
    if (index !== undefined && index.size <= MAX_JSON_FILE_BYTES) {
      const shards = parseCheckpointIndex(INDEX_FILE, await index.read(0, index.size)).values();
      for (const shard of new Set(shards)) sources[shard] = await openShard(join(folder, shard), shard);
    }
    return await open(sources);
  } catch (error) {
    await Promise.all(Object.values(sources).map((source) => source.close()));
    throw error;
  }
}

/** Files to open before the index is known. */
async function listFiles(path: string): Promise<{ folder: string; names: string[] }> {
  const info = await stat(path).catch((cause: unknown) => {
    throw new CheckpointError(path, {
      code: 'fp8/missing-file',
      message: 'no such file or folder',
      value: path,
      remedy: 'pass a model folder or a .safetensors file',
      cause,
    });
  });
  const folder = info.isDirectory() ? path : dirname(path);
  const present = new Set(await readdir(folder));
  const names = info.isDirectory() ? [weightsFile(path, present)] : [basename(path)];
  if (present.has(CONFIG_FILE)) names.push(CONFIG_FILE);
  return { folder, names };
}

function weightsFile(path: string, present: ReadonlySet<string>): string {
  if (present.has(INDEX_FILE)) return INDEX_FILE;
  if (present.has(SINGLE_FILE)) return SINGLE_FILE;
  throw new CheckpointError(path, {
    code: 'fp8/no-checkpoint',
    message: `the folder has neither ${INDEX_FILE} nor ${SINGLE_FILE}`,
    value: path,
    remedy: 'pass a model folder or a .safetensors file',
  });
}

async function openShard(path: string, shard: string): Promise<Required<ByteSource>> {
  try {
    return await fileSource(path, shard);
  } catch (cause) {
    if (!CheckpointError.isInstance(cause) || cause.code !== 'fp8/missing-file') throw cause;
    throw new CheckpointError(shard, {
      code: 'fp8/missing-shard',
      message: 'the index names this shard, but it is missing',
      value: shard,
      remedy: 'fetch the missing shard',
      cause,
    });
  }
}
