import { badFile, type EngineFileLimits } from './limits.js';
import {
  PickledTuple,
  type PickledValue,
  readPickle,
  type StorageReference,
  TensorReference,
} from './pickle-reader.js';
import { writePickle } from './pickle-writer.js';
import { dtypes, TorchTensor, TorchTuple, type TorchValue } from './torch-values.js';
import { ZipReader } from './zip-reader.js';
import { writeZip } from './zip-writer.js';

/**
 * Reads a file of `torch.save` that holds plain data and dense tensors. Nothing in it is executed: its pickle is read by
 * an interpreter that knows data and no code.
 *
 * @param bytes - the whole file; tensors that lie well in it are views of it.
 * @throws PlacementError `placement/bad-file` for anything else, and beyond the limits.
 */
export async function readTorchFile(bytes: Uint8Array, options: EngineFileLimits = {}): Promise<TorchValue> {
  if (bytes[0] === 0x80) {
    throw badFile(
      'expected the zip format of torch.save, got its old format',
      bytes[0],
      'save it again with PyTorch 1.6 or later',
    );
  }
  const zip = new ZipReader(bytes, options);
  const pickle = zip.names().find((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickle === undefined) {
    throw badFile(
      'expected data.pkl in the archive, as torch.save writes it',
      zip.names().slice(0, 4),
      'pass a .pt file',
    );
  }
  const root = pickle.slice(0, -'data.pkl'.length);
  if (zip.has(`${root}byteorder`)) {
    const order = new TextDecoder().decode(await zip.read(`${root}byteorder`));
    if (order !== 'little')
      throw badFile(`expected little-endian tensors, got ${order}`, order, 'save them on another machine');
  }
  const value = readPickle(await zip.read(pickle));
  return new Materializer(zip, root, options.maxBytes ?? 2 ** 32).value(value);
}

/**
 * Writes a file that `torch.load` reads (`weights_only=True` too), byte for byte as PyTorch 1.13 does.
 *
 * @param options - `name`: the folder inside the archive; PyTorch takes the file's name without `.pt`.
 */
export function writeTorchFile(value: TorchValue, { name = 'archive' }: { name?: string } = {}): Uint8Array {
  const { bytes, storages } = writePickle(value);
  const data = storages
    .map(
      ({ data }, index) =>
        [`${index}`, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] as const,
    )
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, content]) => [`${name}/data/${key}`, content] as const);
  return writeZip([
    [`${name}/data.pkl`, bytes],
    ...data,
    [`${name}/version`, new TextEncoder().encode('3\n')],
  ]);
}

/** Turns references into tensors; shared values stay shared, so that work is linear in the pickle. */
class Materializer {
  readonly #zip: ZipReader;
  readonly #root: string;
  readonly #done = new Map<PickledValue, TorchValue>();
  readonly #storages = new Map<string, { reference: StorageReference; bytes: Uint8Array }>();
  #remainingBytes: number;

  constructor(zip: ZipReader, root: string, maxBytes: number) {
    this.#zip = zip;
    this.#root = root;
    this.#remainingBytes = maxBytes;
  }

  async value(root: PickledValue): Promise<TorchValue> {
    const pending: PickledValue[] = [root];
    // Containers first get an empty counterpart, then their items: cycles and any depth are no matter.
    const containers: PickledValue[] = [];
    while (pending.length > 0) {
      const value = pending.pop()!;
      if (typeof value !== 'object' || value === null || this.#done.has(value)) continue;
      if (value instanceof TensorReference) {
        this.#done.set(value, await this.#tensor(value));
        continue;
      }
      const items = value instanceof PickledTuple ? value.items : undefined;
      this.#done.set(value, items !== undefined ? new TorchTuple([]) : Array.isArray(value) ? [] : new Map());
      containers.push(value);
      if (items !== undefined) for (const item of items) pending.push(item);
      else if (Array.isArray(value)) for (const item of value) pending.push(item);
      else if (value instanceof Map) for (const [key, item] of value) pending.push(key, item);
    }
    for (const container of containers) this.#fill(container);
    return this.#of(root);
  }

  #of(value: PickledValue): TorchValue {
    return typeof value === 'object' && value !== null ? this.#done.get(value)! : value;
  }

  #fill(container: PickledValue): void {
    const target = this.#of(container);
    if (container instanceof PickledTuple) {
      const items = (target as TorchTuple).items as TorchValue[];
      for (const item of container.items) items.push(this.#of(item));
    } else if (Array.isArray(container)) {
      for (const item of container) (target as TorchValue[]).push(this.#of(item));
    } else if (container instanceof Map) {
      const dict = target as Map<TorchValue, TorchValue>;
      for (const [key, item] of container) dict.set(this.#of(key), this.#of(item));
    }
  }

  async #tensor({ storage, offset, shape, strides }: TensorReference): Promise<TorchTensor> {
    const { bytes: size, array } = dtypes[storage.dtype];
    const content = await this.#storage(storage);
    let elements = 1;
    let last = offset;
    for (let i = 0; i < shape.length; i++) {
      elements *= shape[i]!;
      last += Math.max(0, shape[i]! - 1) * strides[i]!;
    }
    if (elements > 0 && last >= storage.elements) {
      throw badFile(
        `a tensor reaches element ${last} of ${storage.elements}`,
        last,
        'record or copy the file again',
      );
    }
    this.#remainingBytes -= elements * size;
    if (!(this.#remainingBytes >= 0)) {
      throw badFile('expected smaller tensors', elements, 'raise maxBytes, or record less');
    }
    if (elements === 0) return new TorchTensor(storage.dtype, shape, new array(new ArrayBuffer(0), 0, 0));
    const at = content.byteOffset + offset * size;
    if (isContiguous(shape, strides)) {
      if (at % size === 0) {
        return new TorchTensor(storage.dtype, shape, new array(content.buffer, at, elements));
      }
      const copy = content.slice(offset * size, (offset + elements) * size);
      return new TorchTensor(storage.dtype, shape, new array(copy.buffer, 0, elements));
    }
    const out = new Uint8Array(elements * size);
    gather(content, out, { size, offset, shape, strides });
    return new TorchTensor(storage.dtype, shape, new array(out.buffer, 0, elements));
  }

  async #storage(reference: StorageReference): Promise<Uint8Array> {
    const { key, dtype, elements } = reference;
    const known = this.#storages.get(key);
    if (known !== undefined) {
      if (known.reference.dtype === dtype && known.reference.elements === elements) return known.bytes;
      throw badFile(
        'expected one type and length of each storage',
        key.slice(0, 40),
        'record the file again',
      );
    }
    const bytes = await this.#zip.read(`${this.#root}data/${key}`);
    if (bytes.length !== elements * dtypes[dtype].bytes) {
      throw badFile(
        `expected ${elements} elements of ${dtype} in storage ${key.slice(0, 40)}, got ${bytes.length} bytes`,
        bytes.length,
        'record or copy the file again',
      );
    }
    this.#storages.set(key, { reference, bytes });
    return bytes;
  }
}

function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i]! > 1 && strides[i] !== expected) return false;
    expected *= shape[i]!;
  }
  return true;
}

function gather(
  from: Uint8Array,
  out: Uint8Array,
  view: { size: number; offset: number; shape: readonly number[]; strides: readonly number[] },
): void {
  const { size, shape, strides } = view;
  const index = new Array<number>(shape.length).fill(0);
  let element = view.offset;
  for (let to = 0; to < out.length; to += size) {
    for (let byte = 0; byte < size; byte++) out[to + byte] = from[element * size + byte]!;
    for (let d = shape.length - 1; d >= 0; d--) {
      element += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      element -= strides[d]! * shape[d]!;
      index[d] = 0;
    }
  }
}
