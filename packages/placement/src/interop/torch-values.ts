import { badFile, limits } from './limits.js';

/** Element types of tensors; `f16` and `bf16` stay 16-bit codes, `bool` bytes of 0 and 1. */
export type TorchDtype = 'f64' | 'f32' | 'f16' | 'bf16' | 'i64' | 'i32' | 'i16' | 'i8' | 'u8' | 'bool';

/** Elements of a tensor, by its dtype. */
export type TorchData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint8Array
  | Uint16Array;

interface DtypeInfo {
  readonly storage: string;
  readonly bytes: number;
  readonly array: new (buffer: ArrayBufferLike, offset: number, length: number) => TorchData;
}

/** How PyTorch names the storage of each dtype, and how its elements lie in memory. */
export const dtypes: Readonly<Record<TorchDtype, DtypeInfo>> = {
  f64: { storage: 'DoubleStorage', bytes: 8, array: Float64Array },
  f32: { storage: 'FloatStorage', bytes: 4, array: Float32Array },
  f16: { storage: 'HalfStorage', bytes: 2, array: Uint16Array },
  bf16: { storage: 'BFloat16Storage', bytes: 2, array: Uint16Array },
  i64: { storage: 'LongStorage', bytes: 8, array: BigInt64Array },
  i32: { storage: 'IntStorage', bytes: 4, array: Int32Array },
  i16: { storage: 'ShortStorage', bytes: 2, array: Int16Array },
  i8: { storage: 'CharStorage', bytes: 1, array: Int8Array },
  u8: { storage: 'ByteStorage', bytes: 1, array: Uint8Array },
  bool: { storage: 'BoolStorage', bytes: 1, array: Uint8Array },
};

/** A dense tensor, row-major. */
export class TorchTensor {
  readonly dtype: TorchDtype;
  readonly shape: readonly number[];
  readonly data: TorchData;

  /**
   * @param data - as many elements as `shape` has, of the array type of `dtype`.
   * @throws PlacementError `placement/bad-file` when they do not fit together.
   */
  constructor(dtype: TorchDtype, shape: readonly number[], data: TorchData) {
    const info = dtypes[dtype];
    const elements = shape.reduce((product, length) => product * length, 1);
    if (!(data instanceof info.array) || data.length !== elements || shape.length > limits.dimensions) {
      throw badFile(
        `expected ${elements} elements of ${dtype} in [${shape}], got ${data.length}`,
        data.length,
        'pass data of the shape and the dtype',
      );
    }
    this.dtype = dtype;
    this.shape = shape;
    this.data = data;
  }

  /**
   * The elements as doubles.
   *
   * @throws PlacementError `placement/bad-file` for 16-bit floats, which no engine counts in, and integers beyond 2^53.
   */
  numbers(): Float64Array {
    const { data, dtype } = this;
    if (dtype === 'f16' || dtype === 'bf16') {
      throw badFile(
        `expected counts or ids, got a tensor of ${dtype}`,
        dtype,
        'pass a file of an expert recorder',
      );
    }
    if (!(data instanceof BigInt64Array)) return Float64Array.from(data);
    return Float64Array.from(data, (value) => {
      const number = Number(value);
      if (Number.isSafeInteger(number)) return number;
      throw badFile(`expected integers within 2^53, got ${value}`, String(value), 'pass counts or ids');
    });
  }
}

/** A Python tuple; lists are arrays. */
export class TorchTuple {
  readonly items: readonly TorchValue[];

  constructor(items: readonly TorchValue[]) {
    this.items = items;
  }
}

/** A Python dict in its order; keys are compared as in a Map. */
export type TorchDict = Map<TorchValue, TorchValue>;

/** What a `.pt` file may hold here: data, never code. Integers beyond 2^53 are bigints. */
export type TorchValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | TorchTensor
  | TorchTuple
  | TorchValue[]
  | TorchDict;
