import { badFile, limits } from './limits.js';
import { dtypes, type TorchDtype, type TorchTuple, type TorchValue } from './torch-values.js';

/** The elements that tensors are views of: a file of the archive. */
export interface StorageReference {
  readonly dtype: TorchDtype;
  readonly key: string;
  readonly elements: number;
}

/** A tensor as pickled: where in a storage it lies. */
export class TensorReference {
  readonly storage: StorageReference;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(
    storage: StorageReference,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** A pickled value before its tensors are read. */
export type PickledValue =
  | Exclude<TorchValue, TorchTuple | TorchValue[] | Map<TorchValue, TorchValue>>
  | TensorReference
  | PickledTuple
  | PickledValue[]
  | Map<PickledValue, PickledValue>;

/** A tuple of {@link PickledValue}. */
export class PickledTuple {
  readonly items: readonly PickledValue[];

  constructor(items: readonly PickledValue[]) {
    this.items = items;
  }
}

/** The few names a pickle may mention, none of which is ever imported or called. */
const storageTypes = new Map<string, TorchDtype>(
  (Object.keys(dtypes) as TorchDtype[]).map((dtype) => [`torch.${dtypes[dtype].storage}`, dtype]),
);
const REBUILD_TENSOR = 'torch._utils._rebuild_tensor_v2';
const ORDERED_DICT = 'collections.OrderedDict';
const SIZE = 'torch.Size';
const names = new Set([...storageTypes.keys(), REBUILD_TENSOR, ORDERED_DICT, SIZE]);

class Name {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

class Storage implements StorageReference {
  readonly dtype: TorchDtype;
  readonly key: string;
  readonly elements: number;

  constructor(dtype: TorchDtype, key: string, elements: number) {
    this.dtype = dtype;
    this.key = key;
    this.elements = elements;
  }
}

/** What may lie on the stack between opcodes. */
type StackValue = PickledValue | Name | Storage;

/**
 * Reads the pickle of a `.pt` file: lists, dicts, tuples, numbers, text, booleans, None and tensors. Every other opcode
 * or name is refused, nothing is looked up or called, and time and memory are linear in the length of the pickle.
 */
export function readPickle(bytes: Uint8Array): PickledValue {
  if (bytes.length > limits.pickleBytes) {
    throw refused(`its structure of ${bytes.length} bytes is longer than ${limits.pickleBytes}`);
  }
  return new PickleReader(bytes).run();
}

class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #memo: StackValue[] = [];
  #stack: StackValue[] = [];
  readonly #marks: StackValue[][] = [];
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  run(): PickledValue {
    for (;;) {
      const opcode = this.#byte();
      if (opcode === 0x2e) {
        const value = plain(this.#pop());
        if (this.#marks.length > 0 || this.#stack.length > 0) throw refused('values are left at its end');
        return value;
      }
      const value = this.#literal(opcode);
      if (value !== undefined) this.#stack.push(value);
      else this.#step(opcode);
    }
  }

  /** The value that an opcode puts on the stack, for those that do just that. */
  #literal(opcode: number): StackValue | undefined {
    switch (opcode) {
      case 0x4e: // NONE
        return null;
      case 0x88: // NEWTRUE
        return true;
      case 0x89: // NEWFALSE
        return false;
      case 0x4b: // BININT1
        return this.#byte();
      case 0x4d: // BININT2
        return this.#view.getUint16(this.#take(2), true);
      case 0x4a: // BININT
        return this.#view.getInt32(this.#take(4), true);
      case 0x8a: // LONG1
        return this.#long(this.#byte());
      case 0x47: // BINFLOAT
        return this.#view.getFloat64(this.#take(8));
      case 0x58: // BINUNICODE
        return this.#text(this.#view.getUint32(this.#take(4), true));
      case 0x8c: // SHORT_BINUNICODE
        return this.#text(this.#byte());
      case 0x7d: // EMPTY_DICT
        return new Map();
      case 0x5d: // EMPTY_LIST
        return [];
      case 0x29: // EMPTY_TUPLE
        return new PickledTuple([]);
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#tuple(opcode - 0x84);
      case 0x74: // TUPLE; names and storages inside are refused wherever the tuple is not an argument.
        return new PickledTuple(this.#popMark() as PickledValue[]);
      case 0x68: // BINGET
        return this.#remembered(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#remembered(this.#view.getUint32(this.#take(4), true));
      case 0x63: // GLOBAL
        return this.#name(this.#line(), this.#line());
      case 0x93: {
        // STACK_GLOBAL
        const name = this.#pop();
        return this.#name(this.#pop(), name);
      }
      case 0x52: // REDUCE
        return this.#reduce();
      case 0x51: // BINPERSID
        return this.#storage(this.#pop());
      default:
        return undefined;
    }
  }

  #step(opcode: number): void {
    switch (opcode) {
      case 0x80: // PROTO
        if (this.#byte() > 5) throw refused('it is of a protocol above 5');
        break;
      case 0x95: // FRAME
        this.#take(8);
        break;
      case 0x28: // MARK
        this.#marks.push(this.#stack);
        this.#stack = [];
        break;
      case 0x61: // APPEND
        this.#append([this.#pop()]);
        break;
      case 0x65: // APPENDS
        this.#append(this.#popMark());
        break;
      case 0x73: {
        // SETITEM
        const value = this.#pop();
        this.#setItems([this.#pop(), value]);
        break;
      }
      case 0x75: // SETITEMS
        this.#setItems(this.#popMark());
        break;
      case 0x71: // BINPUT
        this.#memoize(this.#byte());
        break;
      case 0x72: // LONG_BINPUT
        this.#memoize(this.#view.getUint32(this.#take(4), true));
        break;
      case 0x94: // MEMOIZE
        this.#memoize(this.#memo.length);
        break;
      default:
        throw refused(`opcode 0x${opcode.toString(16)} at ${this.#at - 1} is not one of plain data`);
    }
  }

  #pop(): StackValue {
    const value = this.#stack.pop();
    if (value === undefined) throw refused('its stack is empty too early');
    return value;
  }

  #popMark(): StackValue[] {
    const items = this.#stack;
    const below = this.#marks.pop();
    if (below === undefined) throw refused('a mark is missing');
    this.#stack = below;
    return items;
  }

  #top(): StackValue {
    const value = this.#stack[this.#stack.length - 1];
    if (value === undefined) throw refused('its stack is empty too early');
    return value;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw refused('it ends in the middle');
    this.#at += length;
    return at;
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #text(length: number): string {
    const at = this.#take(length);
    try {
      return this.#decoder.decode(this.#bytes.subarray(at, at + length));
    } catch (cause) {
      throw refused('a text is no UTF-8', cause);
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0 || end - this.#at > 200) throw refused('a name does not end');
    const text = this.#text(end - this.#at);
    this.#at++;
    return text;
  }

  #long(length: number): number | bigint {
    const at = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[at + i]!);
    if (length > 0) value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #tuple(length: number): PickledTuple {
    if (this.#stack.length < length) throw refused('its stack is empty too early');
    return new PickledTuple(this.#stack.splice(-length) as PickledValue[]);
  }

  #append(items: readonly StackValue[]): void {
    const list = this.#top();
    if (!Array.isArray(list)) throw refused('something is appended to no list');
    for (const item of items) list.push(plain(item));
  }

  #setItems(items: readonly StackValue[]): void {
    const dict = this.#top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) throw refused('items are set in no dict');
    for (let i = 0; i < items.length; i += 2) dict.set(plain(items[i]!), plain(items[i + 1]!));
  }

  #memoize(index: number): void {
    // Picklers number their memo without gaps; anything else could only be there to take up memory.
    if (index > this.#memo.length) throw refused(`memo ${index} follows ${this.#memo.length - 1}`);
    this.#memo[index] = this.#top();
  }

  #remembered(index: number): StackValue {
    const value = this.#memo[index];
    if (value === undefined) throw refused(`memo ${index} is used before it is set`);
    return value;
  }

  #name(module: StackValue, name: StackValue): Name {
    if (typeof module !== 'string' || typeof name !== 'string') throw refused('a name is no text');
    const text = `${module}.${name}`;
    if (names.has(text)) return new Name(text);
    throw refused(`it asks for ${JSON.stringify(text.slice(0, 100))}, which is no plain data`);
  }

  #storage(id: StackValue): Storage {
    const [kind, type, key, location, elements] = tupleItems(id, 'a storage');
    const dtype =
      (type as StackValue) instanceof Name ? storageTypes.get((type as unknown as Name).text) : undefined;
    if (
      kind !== 'storage' ||
      dtype === undefined ||
      typeof key !== 'string' ||
      typeof location !== 'string'
    ) {
      throw refused('a storage is not described as PyTorch does');
    }
    return new Storage(dtype, key, count(elements, 'elements of a storage'));
  }

  #reduce(): StackValue {
    const items = tupleItems(this.#pop(), 'arguments');
    const callable = this.#pop();
    const name = callable instanceof Name ? callable.text : '';
    if (name === ORDERED_DICT && items.length === 0) return new Map();
    if (name === SIZE && items.length === 1) return plain(items[0]!);
    if (name !== REBUILD_TENSOR || items.length < 6) throw refused('it calls something with other arguments');
    const storage: unknown = items[0];
    if (!(storage instanceof Storage)) throw refused('a tensor has no storage');
    const shape = tupleItems(items[2]!, 'a shape').map((length) => count(length, 'a shape'));
    const strides = tupleItems(items[3]!, 'strides').map((stride) => count(stride, 'a stride'));
    if (shape.length !== strides.length || shape.length > limits.dimensions) {
      throw refused(`a tensor has ${shape.length} dimensions and ${strides.length} strides`);
    }
    return new TensorReference(storage, count(items[1], 'an offset'), shape, strides);
  }
}

function tupleItems(value: StackValue, what: string): readonly PickledValue[] {
  if (value instanceof PickledTuple) return value.items;
  throw refused(`expected a tuple for ${what}`);
}

function count(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw refused(
    `expected a number of at least 0 for ${what}, got ${typeof value === 'number' ? value : typeof value}`,
  );
}

/** A value that may be part of the result: names and storages may not. */
function plain(value: StackValue): PickledValue {
  if (value instanceof Name || value instanceof Storage)
    throw refused('a name or storage stands for a value');
  return value;
}

function refused(what: string, cause?: unknown): Error {
  return badFile(
    `cannot read the pickle: ${what}`,
    what,
    'pass a file that torch.save wrote from dicts, lists, numbers, text and tensors',
    cause,
  );
}
