import { hasErrorMarker, MoestackError, type MoestackErrorOptions } from './errors.js';

/** Arrays that a sidecar can hold. */
export type SidecarArray = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;

/** A named array of a sidecar. */
export interface SidecarTensor {
  shape: readonly number[];
  data: SidecarArray;
}

const marker: symbol = Symbol.for('moestack.error.schemas');

/** A sidecar that cannot be read or written. */
export class SidecarError extends MoestackError {
  constructor(options: MoestackErrorOptions & { code: 'schemas/bad-sidecar' }) {
    super(options);
    this.name = 'SidecarError';
    Object.defineProperty(this, marker, { value: true });
  }

  /** Whether `error` is a {@link SidecarError} of any copy of this package. */
  static override isInstance(error: unknown): error is SidecarError {
    return hasErrorMarker(error, marker);
  }
}

/** Longest header of a sidecar that is read. */
export const MAX_SIDECAR_HEADER_BYTES: number = 64 * 1024 * 1024;

const MAX_DIMENSIONS = 8;
const ALIGNMENT = 8;

const TYPES: Readonly<Record<string, new (buffer: ArrayBuffer) => SidecarArray>> = {
  F64: Float64Array,
  F32: Float32Array,
  I32: Int32Array,
  U16: Uint16Array,
  U8: Uint8Array,
};

const names: readonly (readonly [new (buffer: ArrayBuffer) => SidecarArray, string])[] = Object.entries(
  TYPES,
).map(([name, type]) => [type, name] as const);

/**
 * A safetensors file of arrays that are too big for JSON; little-endian, every tensor aligned to its element.
 *
 * Names are written in the order of `tensors`, widest elements first.
 */
export function encodeSidecar(tensors: Readonly<Record<string, SidecarTensor>>): Uint8Array {
  const entries = Object.entries(tensors).sort(
    (a, b) => b[1].data.BYTES_PER_ELEMENT - a[1].data.BYTES_PER_ELEMENT,
  );
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, { shape, data }] of entries) {
    const dtype = names.find(([type]) => data instanceof type)?.[1];
    if (dtype === undefined || name === '__metadata__') {
      throw bad(`expected a named array of a known type for ${name}`, name, 'pass typed arrays');
    }
    if (shape.reduce((product, size) => product * size, 1) !== data.length) {
      throw bad(
        `expected ${data.length} elements for ${name}, got the shape ${shape.join(' x ')}`,
        shape,
        'pass the shape of the data',
      );
    }
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = Math.ceil((8 + json.length) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(start + end).fill(0x20, 8 + json.length, start);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(start - 8), true);
  bytes.set(json, 8);
  let at = start;
  for (const [, { data }] of entries) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** Arrays of a safetensors file; copies, so that the bytes may be reused. Throws a {@link SidecarError} for anything else. */
export function decodeSidecar(bytes: Uint8Array): Map<string, SidecarTensor> {
  const { header, start } = readHeader(bytes);
  const available = bytes.length - start;
  const tensors = new Map<string, SidecarTensor>();
  let covered = 0;
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { type, shape, begin, end } = readEntry(name, value, available);
    const data = new type(bytes.slice(start + begin, start + end).buffer);
    if (shape.reduce((product, size) => product * size, 1) !== data.length) {
      throw bad(
        `expected the data of ${name} to fill its shape, got ${data.length} elements`,
        shape,
        'write the file again',
      );
    }
    covered += end - begin;
    // Overlapping ranges could make a small file claim endless memory.
    if (covered > available) throw bad('expected tensors that do not overlap', name, 'write the file again');
    tensors.set(name, { shape, data });
  }
  return tensors;
}

function readHeader(bytes: Uint8Array): { header: Record<string, unknown>; start: number } {
  if (bytes.length < 8)
    throw bad(`expected at least 8 bytes, got ${bytes.length}`, bytes.length, 'pass a safetensors file');
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(Math.min(MAX_SIDECAR_HEADER_BYTES, bytes.length - 8))) {
    throw bad(
      `expected a header of at most ${bytes.length - 8} bytes, got ${length}`,
      String(length),
      'pass a whole safetensors file',
    );
  }
  const start = 8 + Number(length);
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, start)));
  } catch (cause) {
    throw bad('expected a header in JSON', undefined, 'pass a safetensors file', cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw bad('expected a header that is an object', undefined, 'pass a safetensors file');
  }
  return { header: header as Record<string, unknown>, start };
}

function readEntry(name: string, value: unknown, available: number) {
  const entry = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { dtype, shape, data_offsets: offsets } = entry;
  const type = typeof dtype === 'string' && Object.hasOwn(TYPES, dtype) ? TYPES[dtype] : undefined;
  if (type === undefined) {
    throw bad(
      `expected a dtype of ${Object.keys(TYPES).join(', ')} for ${name}, got ${String(dtype)}`,
      dtype,
      'use a known dtype',
    );
  }
  if (!isCounts(shape) || shape.length > MAX_DIMENSIONS) {
    throw bad(`expected a shape for ${name}`, shape, 'write the file again');
  }
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]! || offsets[1]! > available) {
    throw bad(`expected offsets within ${available} bytes for ${name}`, offsets, 'pass the whole file');
  }
  const [begin, end] = offsets as [number, number];
  if ((end - begin) % (type as unknown as { BYTES_PER_ELEMENT: number }).BYTES_PER_ELEMENT !== 0) {
    throw bad(
      `expected whole elements for ${name}, got ${end - begin} bytes`,
      end - begin,
      'write the file again',
    );
  }
  return { type, shape, begin, end };
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
}

function bad(message: string, value: unknown, remedy: string, cause?: unknown): SidecarError {
  return new SidecarError({
    code: 'schemas/bad-sidecar',
    message,
    value,
    remedy,
    ...(cause === undefined ? {} : { cause }),
  });
}
