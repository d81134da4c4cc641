import { badFile, limits } from './limits.js';
import { parseJson } from './parse-text.js';
import { dtypes, type TorchDtype, TorchTensor } from './torch-values.js';

const names: Readonly<Record<string, TorchDtype>> = {
  F64: 'f64',
  F32: 'f32',
  I64: 'i64',
  I32: 'i32',
  I16: 'i16',
  I8: 'i8',
  U8: 'u8',
};

/** Tensors of a safetensors file of counts or ids, by name. */
export function readSafetensors(bytes: Uint8Array): Map<string, TorchTensor> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = bytes.length < 8 ? Number.NaN : Number(view.getBigUint64(0, true));
  if (!(length <= limits.safetensorsHeaderBytes && 8 + length <= bytes.length)) {
    throw badFile(
      `expected a safetensors header within the file, got ${length} bytes`,
      length,
      'pass a whole file',
    );
  }
  const header = parseJson(bytes.subarray(8, 8 + length), 'a safetensors header');
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw badFile('expected an object as the safetensors header', typeof header, 'pass a safetensors file');
  }
  const tensors = new Map<string, TorchTensor>();
  for (const [name, info] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, readTensor(bytes.subarray(8 + length), name, info));
  }
  return tensors;
}

function readTensor(data: Uint8Array, name: string, info: unknown): TorchTensor {
  const { dtype, shape, data_offsets: offsets } = (info ?? {}) as Record<string, unknown>;
  const type = typeof dtype === 'string' && Object.hasOwn(names, dtype) ? names[dtype] : undefined;
  if (type === undefined || !isSizes(shape) || !isSizes(offsets) || offsets.length !== 2) {
    throw badFile(
      `expected dtype (${Object.keys(names).join(', ')}), shape and data_offsets of ${name.slice(0, 60)}`,
      name.slice(0, 60),
      'pass a safetensors file of counts or ids',
    );
  }
  const [begin, end] = offsets as [number, number];
  const { bytes, array } = dtypes[type];
  const elements = shape.reduce((product, n) => product * n, 1);
  if (begin > end || end > data.length || end - begin !== elements * bytes) {
    throw badFile(
      `expected ${elements} elements of ${type} for ${name.slice(0, 60)} at ${begin} to ${end} of ${data.length} bytes`,
      end - begin,
      'pass a whole file',
    );
  }
  return new TorchTensor(type, shape, new array(data.slice(begin, end).buffer, 0, elements));
}

function isSizes(value: unknown): value is number[] {
  return (
    Array.isArray(value) &&
    value.length <= limits.dimensions &&
    value.every((n) => Number.isSafeInteger(n) && (n as number) >= 0)
  );
}
