/** Words from which a copy by `set` beats a loop, its view included. */
const SET_WORDS = 32;

/** Bytes of messages or rows, seen as every element type; offsets into it are bytes and multiples of the element size. */
export class MessageBuffer {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;

  /** @param bytes - starts at a multiple of 4; up to three bytes at its end are out of reach of the wider views. */
  constructor(bytes: Uint8Array) {
    this.u8 = bytes;
    this.u16 = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 1);
    this.i32 = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    this.f32 = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  }
}

/** Copies `bytes` bytes, a multiple of 4 at offsets that are multiples of 4. */
export function copyAligned(
  source: MessageBuffer,
  from: number,
  target: MessageBuffer,
  to: number,
  bytes: number,
): void {
  const words = bytes >>> 2;
  const input = source.i32;
  const output = target.i32;
  const first = from >>> 2;
  const start = to >>> 2;
  if (words >= SET_WORDS) {
    output.set(input.subarray(first, first + words), start);
    return;
  }
  for (let i = 0; i < words; i++) output[start + i] = input[first + i]!;
}

type Rows = Float32Array | Uint16Array | Uint8Array | Int32Array;

/**
 * The caller's array as a {@link MessageBuffer}, remembered so that calls with the same array make no new views. An array that
 * does not start at a multiple of 4 bytes is copied into memory that does.
 */
export class RowView {
  #array: Rows | undefined;
  #buffer: MessageBuffer | undefined;

  /** Views the first `length` elements of `array`. */
  of(array: Rows, length: number): MessageBuffer {
    const unaligned = array.byteOffset % 4 !== 0;
    if (unaligned) {
      const bytes = new Uint8Array(length * array.BYTES_PER_ELEMENT);
      bytes.set(new Uint8Array(array.buffer, array.byteOffset, bytes.length));
      return new MessageBuffer(bytes);
    }
    if (this.#array !== array || this.#buffer === undefined) {
      this.#array = array;
      this.#buffer = new MessageBuffer(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    }
    return this.#buffer;
  }
}
