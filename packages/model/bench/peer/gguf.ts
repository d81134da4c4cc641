import { closeSync, openSync, writeSync } from 'node:fs';

// GGUF version 3 as ggml's documentation describes it: header, key-value pairs, tensor infos, aligned data.
const ALIGNMENT = 32;
const TYPE = { uint32: 4, float32: 6, bool: 7, string: 8, array: 9, int32: 5 } as const;

/** Tensor types that the writer knows; Q8_0 holds 32 weights as one float16 scale and 32 signed bytes. */
export type GgufTensorType = 'f32' | 'q8_0';

const typeId = { f32: 0, q8_0: 8 } as const;

/** One tensor, innermost dimension first, and how to fill it. */
export interface GgufTensor {
  name: string;
  dims: number[];
  type: GgufTensorType;
  /** Bytes of the whole tensor. */
  fill: (bytes: Buffer) => void;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** Collects metadata and writes a file. */
export class GgufWriter {
  readonly #pairs: Buffer[] = [];
  readonly #tensors: GgufTensor[] = [];

  #pair(key: string, type: number, value: Buffer): void {
    this.#pairs.push(Buffer.concat([text(key), u32(type), value]));
  }

  uint(key: string, value: number): void {
    this.#pair(key, TYPE.uint32, u32(value));
  }

  float(key: string, value: number): void {
    this.#pair(key, TYPE.float32, f32(value));
  }

  bool(key: string, value: boolean): void {
    this.#pair(key, TYPE.bool, Buffer.from([value ? 1 : 0]));
  }

  string(key: string, value: string): void {
    this.#pair(key, TYPE.string, text(value));
  }

  strings(key: string, values: string[]): void {
    this.#pair(key, TYPE.array, Buffer.concat([u32(TYPE.string), u64(values.length), ...values.map(text)]));
  }

  floats(key: string, values: number[]): void {
    this.#pair(key, TYPE.array, Buffer.concat([u32(TYPE.float32), u64(values.length), ...values.map(f32)]));
  }

  ints(key: string, values: number[]): void {
    this.#pair(key, TYPE.array, Buffer.concat([u32(TYPE.int32), u64(values.length), ...values.map(u32)]));
  }

  tensor(tensor: GgufTensor): void {
    this.#tensors.push(tensor);
  }

  write(path: string): void {
    const sizes = this.#tensors.map(({ dims, type }) => {
      const elements = dims.reduce((product, dim) => product * dim, 1);
      return type === 'q8_0' ? (elements / 32) * 34 : elements * 4;
    });
    let offset = 0;
    const infos = this.#tensors.map((tensor, index) => {
      const info = Buffer.concat([
        text(tensor.name),
        u32(tensor.dims.length),
        ...tensor.dims.map(u64),
        u32(typeId[tensor.type]),
        u64(offset),
      ]);
      offset += Math.ceil(sizes[index]! / ALIGNMENT) * ALIGNMENT;
      return info;
    });
    const counts = [u32(3), u64(this.#tensors.length), u64(this.#pairs.length)];
    const head = Buffer.concat([Buffer.from('GGUF'), ...counts, ...this.#pairs, ...infos]);
    const file = openSync(path, 'w');
    writeSync(file, head);
    writeSync(file, Buffer.alloc((ALIGNMENT - (head.length % ALIGNMENT)) % ALIGNMENT));
    for (const [index, tensor] of this.#tensors.entries()) {
      const bytes = Buffer.alloc(Math.ceil(sizes[index]! / ALIGNMENT) * ALIGNMENT);
      tensor.fill(bytes.subarray(0, sizes[index]));
      writeSync(file, bytes);
    }
    closeSync(file);
  }
}
