import { Fp8Error, quoted } from './errors.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import {
  HEADER_PREFIX_BYTES,
  MAX_HEADER_BYTES,
  MAX_TENSORS_PER_FILE,
  type TensorEntry,
  tensorBytes,
} from './safetensors-header.js';

/** Header and data start at multiples of this, so that every element type is aligned in a mapped file. */
const ALIGNMENT_BYTES = 8;

/** A tensor to be written. */
export interface TensorDescription {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  /** Row-major dimensions; `[]` is a scalar. */
  readonly shape: readonly number[];
}

/** Where everything goes in a safetensors file that is about to be written. */
export interface SafetensorsLayout {
  /** Length prefix and padded JSON header: the first bytes of the file. */
  readonly header: Uint8Array;
  /** In file order; offsets count from the start of the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly fileBytes: number;
}

/**
 * Lays out a safetensors file: header padded with spaces to a multiple of 8, tensors by falling element size (then
 * in the given order), so that each is aligned to its element without gaps, which the format forbids.
 *
 * @throws {@link Fp8Error} for duplicate or reserved names, impossible shapes, or a header beyond the format's limit.
 */
export function layoutSafetensors(tensors: readonly TensorDescription[]): SafetensorsLayout {
  if (tensors.length > MAX_TENSORS_PER_FILE) {
    throw unwritable(
      `expected at most ${MAX_TENSORS_PER_FILE} tensors, got ${tensors.length}`,
      tensors.length,
    );
  }
  const sorted = [...tensors].sort((a, b) => dtypeBits[b.dtype] - dtypeBits[a.dtype]);
  const placed = new Map<string, TensorEntry>();
  const parts = ['"__metadata__":{"format":"pt"}'];
  let position = 0;
  for (const { name, dtype, shape } of sorted) {
    const bytes = shape.every(isDimension) ? tensorBytes(dtype, shape) : undefined;
    if (bytes === undefined || !Number.isSafeInteger(position + bytes)) {
      throw unwritable(`${quoted(name)}: ${dtype} [${shape.join(', ')}] has no size in whole bytes`, shape);
    }
    if (placed.has(name) || name === '__metadata__') {
      throw unwritable(`${quoted(name)} is duplicate or reserved as a tensor name`, name);
    }
    placed.set(name, { dtype, shape, offset: position, bytes });
    const entry = { dtype, shape, data_offsets: [position, position + bytes] };
    parts.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    position += bytes;
  }
  const header = encodeHeader(`{${parts.join(',')}}`);
  for (const [name, entry] of placed) placed.set(name, { ...entry, offset: entry.offset + header.length });
  return { header, tensors: placed, fileBytes: header.length + position };
}

function encodeHeader(json: string): Uint8Array {
  const text = new TextEncoder().encode(json);
  const length = Math.ceil(text.length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  if (length > MAX_HEADER_BYTES) {
    throw unwritable(`expected a header of at most ${MAX_HEADER_BYTES} bytes, got ${length}`, length);
  }
  const header = new Uint8Array(HEADER_PREFIX_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, HEADER_PREFIX_BYTES);
  return header;
}

/**
 * Serialises tensors that are in memory to one safetensors file.
 *
 * @param tensors - `data` holds the stored bytes, little-endian, exactly as many as dtype and shape take.
 * @throws {@link Fp8Error} for data of the wrong size, duplicate or reserved names, impossible shapes.
 *
 * @example
 * ```ts
 * import { memorySource, openCheckpoint, serializeSafetensors } from '@moestack/fp8';
 *
 * const file = serializeSafetensors([{ name: 'x', dtype: 'F32', shape: [2], data: Float32Array.of(1, -1) }]);
 * const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(file) });
 * console.log(await checkpoint.readFloat32('x')); // 1, -1
 * ```
 */
export function serializeSafetensors(
  tensors: readonly (TensorDescription & { readonly data: ArrayBufferView })[],
): Uint8Array {
  const layout = layoutSafetensors(tensors);
  for (const { name, data } of tensors) {
    const { bytes } = layout.tensors.get(name)!;
    if (data.byteLength === bytes) continue;
    throw unwritable(
      `${quoted(name)}: expected ${bytes} bytes of data, got ${data.byteLength}`,
      data.byteLength,
    );
  }
  const file = new Uint8Array(layout.fileBytes);
  file.set(layout.header);
  for (const { name, data } of tensors) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    file.set(bytes, layout.tensors.get(name)!.offset);
  }
  return file;
}

function isDimension(size: number): boolean {
  return Number.isSafeInteger(size) && size >= 0;
}

function unwritable(message: string, value: unknown): Fp8Error {
  return new Fp8Error({
    code: 'fp8/unwritable',
    message: `cannot write this safetensors file: ${message}`,
    value,
    remedy: 'correct the tensor, or split the tensors over more files',
  });
}
