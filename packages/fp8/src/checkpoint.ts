import { type ByteSource, readExactly } from './byte-source.js';
import {
  type CheckpointQuantization,
  DEFAULT_WEIGHT_BLOCK,
  MAX_JSON_FILE_BYTES,
  parseCheckpointIndex,
  parseQuantizationConfig,
} from './checkpoint-index.js';
import { CheckpointError, quoted } from './errors.js';
import { type Checkpoint, type Located, SafetensorsCheckpoint } from './safetensors-checkpoint.js';
import {
  HEADER_PREFIX_BYTES,
  parseSafetensorsHeader,
  readHeaderLength,
  type TensorEntry,
} from './safetensors-header.js';

/** File name of the index of a sharded checkpoint. */
export const INDEX_FILE = 'model.safetensors.index.json';
/** File name of an unsharded checkpoint. */
export const SINGLE_FILE = 'model.safetensors';
/** File name of the model configuration. */
export const CONFIG_FILE = 'config.json';

/**
 * Opens a safetensors checkpoint from named byte sources.
 *
 * @param sources - file name to bytes: either `model.safetensors.index.json` with all its shards, or any number of
 * `*.safetensors` files; `config.json` is read for the quantisation block size when present.
 * @throws {@link CheckpointError} for malformed, inconsistent or missing files, before any tensor is read.
 *
 * @example
 * ```ts
 * import { memorySource, openCheckpoint } from '@moestack/fp8';
 *
 * const header = new TextEncoder().encode('{"x":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}');
 * const file = Uint8Array.of(header.length, 0, 0, 0, 0, 0, 0, 0, ...header, 0x38, 0xb8);
 * const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(file) });
 * console.log(await checkpoint.readFloat32('x')); // 1, -1
 * ```
 */
export async function openCheckpoint(sources: Readonly<Record<string, ByteSource>>): Promise<Checkpoint> {
  const quantization = await readQuantization(sources);
  const index = await readIndex(sources);
  const files =
    index === undefined
      ? Object.keys(sources).filter((name) => name.endsWith('.safetensors'))
      : [...new Set(index.values())];
  if (files.length === 0 && index === undefined) {
    throw new CheckpointError(SINGLE_FILE, {
      code: 'fp8/no-checkpoint',
      message: 'no safetensors file among the sources',
      value: Object.keys(sources).slice(0, 16),
      remedy: `pass ${SINGLE_FILE}, or ${INDEX_FILE} with its shards`,
    });
  }
  const tensors = new Map<string, Located>();
  for (const file of files.sort()) {
    const source = sourceOf(sources, file);
    for (const [name, entry] of await readHeader(file, source)) {
      if (index !== undefined && index.get(name) !== file) continue;
      if (tensors.has(name)) {
        throw new CheckpointError(file, {
          code: 'fp8/duplicate-tensor',
          message: `tensor ${quoted(name)} is also in ${tensors.get(name)?.file}`,
          value: name,
          remedy: 'pass the index that says which file counts',
        });
      }
      tensors.set(name, { ...entry, file, source });
    }
  }
  for (const [name, file] of index ?? []) {
    if (!tensors.has(name)) {
      throw new CheckpointError(file, {
        code: 'fp8/missing-tensor',
        message: `tensor ${quoted(name)} is in the index but not in this file`,
        value: name,
        remedy: 'index and shards are of different versions: fetch both again',
      });
    }
  }
  return new SafetensorsCheckpoint(tensors, quantization, sources);
}

function sourceOf(sources: Readonly<Record<string, ByteSource>>, file: string): ByteSource {
  const source = Object.hasOwn(sources, file) ? sources[file] : undefined;
  if (source === undefined) {
    throw new CheckpointError(file, {
      code: 'fp8/missing-shard',
      message: 'the index names this shard, but it is missing',
      value: file,
      remedy: 'fetch the missing shard',
    });
  }
  return source;
}

async function readHeader(file: string, source: ByteSource): Promise<ReadonlyMap<string, TensorEntry>> {
  if (!Number.isSafeInteger(source.size) || source.size < 0) {
    throw new CheckpointError(file, {
      code: 'fp8/bad-source',
      message: `expected a source size in bytes, got ${source.size}`,
      value: source.size,
      remedy: 'give the size of the file in bytes',
    });
  }
  const prefixBytes = Math.min(HEADER_PREFIX_BYTES, source.size);
  const prefix = await readExactly(file, source, 0, prefixBytes);
  const length = readHeaderLength(file, prefix, source.size);
  const json = await readExactly(file, source, HEADER_PREFIX_BYTES, length);
  return parseSafetensorsHeader(file, json, source.size).tensors;
}

async function readIndex(
  sources: Readonly<Record<string, ByteSource>>,
): Promise<Map<string, string> | undefined> {
  const json = await readJsonFile(sources, INDEX_FILE);
  return json === undefined ? undefined : parseCheckpointIndex(INDEX_FILE, json);
}

async function readQuantization(
  sources: Readonly<Record<string, ByteSource>>,
): Promise<CheckpointQuantization> {
  const json = await readJsonFile(sources, CONFIG_FILE);
  return json === undefined ? { block: DEFAULT_WEIGHT_BLOCK } : parseQuantizationConfig(CONFIG_FILE, json);
}

async function readJsonFile(
  sources: Readonly<Record<string, ByteSource>>,
  file: string,
): Promise<Uint8Array | undefined> {
  const source = Object.hasOwn(sources, file) ? sources[file] : undefined;
  if (source === undefined) return undefined;
  if (!(source.size <= MAX_JSON_FILE_BYTES)) {
    throw new CheckpointError(file, {
      code: 'fp8/file-too-large',
      message: `expected at most ${MAX_JSON_FILE_BYTES} bytes, got ${source.size}`,
      value: source.size,
      remedy: 'this is no checkpoint index or configuration',
    });
  }
  return await readExactly(file, source, 0, source.size);
}
