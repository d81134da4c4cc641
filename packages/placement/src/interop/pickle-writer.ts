import { badFile, limits } from './limits.js';
import { dtypes, TorchTensor, TorchTuple, type TorchValue } from './torch-values.js';

/** Items that go under one opcode, as in CPython. */
const BATCH = 1000;

/** The pickle of a value, and the tensors whose elements are saved beside it, in order of their keys. */
export interface PickledFile {
  readonly bytes: Uint8Array;
  readonly storages: readonly TorchTensor[];
}

/** Pickles a value by protocol 2, byte for byte as CPython and `torch.save` do (equal texts count as one object). */
export function writePickle(value: TorchValue): PickledFile {
  const writer = new PickleWriter();
  writer.save(value, 0);
  return writer.finish();
}

class PickleWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  readonly #memo = new Map<unknown, number>();
  #memos = 0;
  readonly #storages: TorchTensor[] = [];

  constructor() {
    this.#put(0x80, 2);
  }

  finish(): PickledFile {
    this.#put(0x2e);
    return { bytes: this.#bytes.slice(0, this.#length), storages: this.#storages };
  }

  save(value: TorchValue, depth: number): void {
    if (depth > limits.depth) {
      throw badFile(`expected at most ${limits.depth} levels`, depth, 'write flatter data, without cycles');
    }
    if (value === null) this.#put(0x4e);
    else if (typeof value === 'boolean') this.#put(value ? 0x88 : 0x89);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'bigint') this.#long(value);
    else if (typeof value === 'string') this.#text(value);
    else if (this.#known(value)) return;
    else if (value instanceof TorchTensor) this.#tensor(value, depth);
    else if (value instanceof TorchTuple) this.#tuple(value, depth);
    else if (Array.isArray(value)) this.#list(value, depth);
    else this.#dict(value, depth);
  }

  #dict(value: Map<TorchValue, TorchValue>, depth: number): void {
    this.#put(0x7d);
    this.#memoize(value);
    if (value.size === 0) return;
    const entries = [...value];
    if (entries.length === 1) {
      this.save(entries[0]![0], depth + 1);
      this.save(entries[0]![1], depth + 1);
      this.#put(0x73);
      return;
    }
    // CPython closes a full batch before it knows whether more follows.
    for (let first = 0; first <= entries.length; first += BATCH) {
      this.#put(0x28);
      for (const [key, item] of entries.slice(first, first + BATCH)) {
        this.save(key, depth + 1);
        this.save(item, depth + 1);
      }
      this.#put(0x75);
    }
  }

  #list(value: readonly TorchValue[], depth: number): void {
    this.#put(0x5d);
    this.#memoize(value);
    if (value.length === 1) {
      this.save(value[0]!, depth + 1);
      this.#put(0x61);
      return;
    }
    for (let first = 0; first < value.length; first += BATCH) {
      this.#put(0x28);
      for (const item of value.slice(first, first + BATCH)) this.save(item, depth + 1);
      this.#put(0x65);
    }
  }

  #tuple(value: TorchTuple, depth: number): void {
    const { items } = value;
    if (items.length === 0) {
      this.#put(0x29);
      return;
    }
    if (items.length > 3) this.#put(0x28);
    for (const item of items) this.save(item, depth + 1);
    this.#put(items.length > 3 ? 0x74 : 0x84 + items.length);
    this.#memoize(value);
  }

  #tensor(tensor: TorchTensor, depth: number): void {
    const strides = tensor.shape.map((_, i) =>
      tensor.shape.slice(i + 1).reduce((product, length) => product * Math.max(1, length), 1),
    );
    this.#global('torch._utils\n_rebuild_tensor_v2');
    this.#put(0x28);
    this.#storage(tensor);
    this.#put(0x4b, 0);
    this.save(new TorchTuple(tensor.shape), depth + 1);
    this.save(new TorchTuple(strides), depth + 1);
    this.#put(0x89);
    this.#global('collections\nOrderedDict');
    this.#put(0x29, 0x52);
    this.#memoize({});
    this.#put(0x74);
    this.#memoize({});
    this.#put(0x52);
    this.#memoize(tensor);
  }

  #storage(tensor: TorchTensor): void {
    this.#put(0x28);
    this.#text('storage');
    this.#global(`torch\n${dtypes[tensor.dtype].storage}`);
    this.#text(String(this.#storages.length));
    this.#text('cpu');
    this.#number(tensor.data.length);
    this.#put(0x74);
    this.#memoize({});
    this.#put(0x51);
    this.#storages.push(tensor);
  }

  #global(name: string): void {
    const key = `\0${name}`;
    if (this.#known(key)) return;
    this.#put(0x63);
    this.#append(new TextEncoder().encode(`${name}\n`));
    this.#memoize(key);
  }

  #text(text: string): void {
    if (this.#known(text)) return;
    const bytes = new TextEncoder().encode(text);
    this.#put(0x58);
    this.#int32(bytes.length);
    this.#append(bytes);
    this.#memoize(text);
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.#put(0x47);
      this.#room(8);
      this.#view.setFloat64(this.#length, value);
      this.#length += 8;
    } else if (value >= 0 && value < 0x100) this.#put(0x4b, value);
    else if (value >= 0 && value < 0x10000) this.#put(0x4d, value & 0xff, value >> 8);
    else if (value >= -0x80000000 && value < 0x80000000) {
      this.#put(0x4a);
      this.#int32(value);
    } else this.#long(BigInt(value));
  }

  #long(value: bigint): void {
    const bytes: number[] = [];
    for (let rest = value; ; rest >>= 8n) {
      bytes.push(Number(rest & 0xffn));
      if (rest >= -128n && rest < 128n) break;
    }
    if (bytes.length > 255)
      throw badFile('expected integers of at most 255 bytes', bytes.length, 'write smaller integers');
    this.#put(0x8a, value === 0n ? 0 : bytes.length);
    if (value !== 0n) this.#append(Uint8Array.from(bytes));
  }

  #known(value: unknown): boolean {
    const index = this.#memo.get(value);
    if (index === undefined) return false;
    if (index < 256) this.#put(0x68, index);
    else {
      this.#put(0x6a);
      this.#int32(index);
    }
    return true;
  }

  #memoize(value: unknown): void {
    const index = this.#memos++;
    this.#memo.set(value, index);
    if (index < 256) this.#put(0x71, index);
    else {
      this.#put(0x72);
      this.#int32(index);
    }
  }

  #put(...values: number[]): void {
    this.#room(values.length);
    for (const value of values) this.#bytes[this.#length++] = value;
  }

  #int32(value: number): void {
    this.#room(4);
    this.#view.setInt32(this.#length, value, true);
    this.#length += 4;
  }

  #append(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #room(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + length));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
