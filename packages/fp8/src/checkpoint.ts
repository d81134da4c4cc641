import { type ByteSource, fill, readExactly } from './byte-source.js';
import {
  type CheckpointQuantization,
  DEFAULT_WEIGHT_BLOCK,
  MAX_JSON_FILE_BYTES,
  parseCheckpointIndex,
  parseQuantizationConfig,
} from './checkpoint-index.js';
import { applyBlockScales, scaleLayout } from './checkpoint-scales.js';
import { CheckpointError, Fp8Error, quoted } from './errors.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import {
  elementCount,
  HEADER_PREFIX_BYTES,
  parseSafetensorsHeader,
  readHeaderLength,
  type TensorEntry,
} from './safetensors-header.js';
import { storedToFloat32 } from './stored-values.js';

/** File name of the index of a sharded checkpoint. */
export const INDEX_FILE = 'model.safetensors.index.json';
/** File name of an unsharded checkpoint. */
export const SINGLE_FILE = 'model.safetensors';
/** File name of the model configuration. */
export const CONFIG_FILE = 'config.json';
/** Suffix of the tensor that holds a weight's block scales; value = decode(code) * scale. */
export const SCALE_SUFFIX = '_scale_inv';

/** Bytes read at a time while converting; bounds memory beside the result. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/** One tensor as the checkpoint describes it. */
export interface TensorInfo {
  /** Stored dtype as the format spells it: `F32`, `BF16`, `F8_E4M3` ... */
  readonly dtype: SafetensorsDtype;
  /** Row-major; weights are [out, in]. */
  readonly shape: number[];
  /** Stored size. */
  readonly bytes: number;
  /** File that holds it. */
  readonly file: string;
}

/** An open safetensors checkpoint of one or more files. */
export interface Checkpoint {
  /** Rows and columns per scale and the method, from config.json or the defaults. */
  readonly quantization: CheckpointQuantization;
  /** All tensor names, scales included, file by file. */
  names(): string[];
  has(name: string): boolean;
  info(name: string): TensorInfo;
  /** Raw stored bytes, in memory aligned to 8 bytes; for memory sources possibly a view, so do not write to it. */
  read(name: string): Promise<Uint8Array>;
  /**
   * Reads raw stored bytes into memory of the caller, straight from the file where the source allows it.
   *
   * @param target - its length is the number of bytes read; may be a view of WebAssembly or shared memory.
   * @param startBytes - first byte within the tensor; default 0.
   */
  readInto(name: string, target: Uint8Array, startBytes?: number): Promise<void>;
  /** Values as float32 `[shape]`; an FP8 weight is multiplied by its `_scale_inv` blocks in float32. */
  readFloat32(name: string): Promise<Float32Array>;
  /** Closes the sources; reading afterwards is an error. */
  close(): Promise<void>;
}

interface Located extends TensorEntry {
  readonly file: string;
  readonly source: ByteSource;
}

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

class SafetensorsCheckpoint implements Checkpoint {
  readonly quantization: CheckpointQuantization;
  private readonly tensors: ReadonlyMap<string, Located>;
  private readonly sources: Readonly<Record<string, ByteSource>>;
  private closed = false;

  constructor(
    tensors: ReadonlyMap<string, Located>,
    quantization: CheckpointQuantization,
    sources: Readonly<Record<string, ByteSource>>,
  ) {
    this.tensors = tensors;
    this.quantization = quantization;
    this.sources = sources;
  }

  names(): string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): TensorInfo {
    const { dtype, shape, bytes, file } = this.locate(name);
    return { dtype, shape: [...shape], bytes, file };
  }

  async read(name: string): Promise<Uint8Array> {
    const { file, source, offset, bytes } = this.locateOpen(name);
    if (source.readInto === undefined || bytes === 0) {
      return aligned(await readExactly(file, source, offset, bytes));
    }
    const target = this.allocate(name, bytes, (length) => new Uint8Array(length));
    await fill(file, source, offset, target);
    return target;
  }

  async readInto(name: string, target: Uint8Array, startBytes = 0): Promise<void> {
    const { file, source, offset, bytes } = this.locateOpen(name);
    const fits = Number.isSafeInteger(startBytes) && startBytes >= 0 && startBytes + target.length <= bytes;
    if (!fits) {
      throw new Fp8Error({
        code: 'fp8/bad-range',
        message: `expected a range within the ${bytes} bytes of ${quoted(name)}, got ${target.length} bytes from ${startBytes}`,
        value: [startBytes, target.length],
        remedy: 'size the target by info(name).bytes',
      });
    }
    await fill(file, source, offset + startBytes, target);
  }

  async readFloat32(name: string): Promise<Float32Array> {
    const entry = this.locateOpen(name);
    const layout = scaleLayout(name, entry, this.tensors.get(name + SCALE_SUFFIX), this.quantization);
    const out = this.allocate(name, elementCount(entry), (length) => new Float32Array(length));
    await this.convert(entry, out);
    if (layout !== undefined) {
      const scales = new Float32Array(layout.blockRows * layout.blockCols);
      await this.convert(this.locateOpen(name + SCALE_SUFFIX), scales);
      applyBlockScales(out, scales, layout);
    }
    return out;
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await Promise.all(Object.values(this.sources).map((source) => source.close?.()));
  }

  /** Decodes chunk by chunk, so that the raw bytes never stand whole beside the values. */
  private async convert(entry: Located, out: Float32Array): Promise<void> {
    if (out.length === 0) return;
    const chunk = new Uint8Array(Math.min(entry.bytes, CHUNK_BYTES));
    const bits = dtypeBits[entry.dtype];
    for (let done = 0; done < entry.bytes; done += chunk.length) {
      const raw = chunk.subarray(0, Math.min(chunk.length, entry.bytes - done));
      await fill(entry.file, entry.source, entry.offset + done, raw);
      const first = (done * 8) / bits;
      storedToFloat32(entry.dtype, raw, out.subarray(first, first + (raw.length * 8) / bits));
    }
  }

  private allocate<T>(name: string, length: number, create: (length: number) => T): T {
    try {
      return create(length);
    } catch (cause) {
      throw new Fp8Error({
        code: 'fp8/out-of-memory',
        message: `cannot allocate ${length} elements for ${quoted(name)}`,
        value: length,
        remedy: 'read the tensor in parts with readInto()',
        cause,
      });
    }
  }

  private locateOpen(name: string): Located {
    if (this.closed) {
      throw new Fp8Error({
        code: 'fp8/closed',
        message: `cannot read ${quoted(name)}: the checkpoint is closed`,
        value: name,
        remedy: 'read before close(), or open it again',
      });
    }
    return this.locate(name);
  }

  private locate(name: string): Located {
    const entry = this.tensors.get(name);
    if (entry === undefined) {
      throw new Fp8Error({
        code: 'fp8/unknown-tensor',
        message: `the checkpoint has no tensor ${quoted(name)}`,
        value: name,
        remedy: 'names() lists what it has',
      });
    }
    return entry;
  }
}

function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : bytes.slice();
}
