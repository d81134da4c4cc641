import { type ByteSource, fill, readExactly } from './byte-source.js';
import type { CheckpointQuantization } from './checkpoint-index.js';
import { applyBlockScales, scaleLayout } from './checkpoint-scales.js';
import { Fp8Error, quoted } from './errors.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import { elementCount, type TensorEntry } from './safetensors-header.js';
import { storedToFloat32 } from './stored-values.js';

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
  /** Whether the checkpoint has a tensor of this name. */
  has(name: string): boolean;
  /** Type, shape, size and file of a tensor, without reading it. */
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

/** A tensor, its file and where to read that. */
export interface Located extends TensorEntry {
  readonly file: string;
  readonly source: ByteSource;
}

/** A {@link Checkpoint} over validated headers. */
export class SafetensorsCheckpoint implements Checkpoint {
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

/** Sources may answer with Buffers, whose slice() copies nothing. */
function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes);
}
