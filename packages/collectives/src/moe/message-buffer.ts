/** Words from which a copy by `set` beats a loop. */
const SET_WORDS = 32;

/**
 * Messages or rows of equal size, seen as every element type; offsets into it are bytes and multiples of the element size. Views
 * of parts are made once and kept, so that copies in the steady state allocate nothing.
 */
export class MessageBuffer {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly #stride: number;
  readonly #parts: (Int32Array | undefined)[] = [];

  /**
   * @param bytes - starts at a multiple of 4; up to three bytes at its end are out of reach of the wider views.
   * @param stride - bytes from one message or row to the next.
   */
  constructor(bytes: Uint8Array, stride: number) {
    this.u8 = bytes;
    this.u16 = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 1);
    this.i32 = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    this.f32 = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    this.#stride = stride;
  }

  /** The words at byte `offset`. Callers ask for the same part of every message of a buffer. */
  part(offset: number, words: number): Int32Array {
    const index = (offset / this.#stride) | 0;
    const known = this.#parts[index];
    if (known !== undefined) return known;
    const first = offset >>> 2;
    const part = this.i32.subarray(first, first + words);
    this.#parts[index] = part;
    return part;
  }
}

/** A buffer without messages. */
export const noMessages: MessageBuffer = new MessageBuffer(new Uint8Array(0), 1);

/** Copies a part of a message: `bytes` bytes, a multiple of 4, at offsets that are multiples of 4. */
export function copyPart(
  source: MessageBuffer,
  from: number,
  target: MessageBuffer,
  to: number,
  bytes: number,
): void {
  if (bytes >= SET_WORDS * 4) target.i32.set(source.part(from, bytes >>> 2), to >>> 2);
  else copyWords(source, from, target, to, bytes);
}

/** {@link copyPart} by a loop, for few words, or for a second part of a message. */
export function copyWords(
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
  for (let i = 0; i < words; i++) output[start + i] = input[first + i]!;
}

type Rows = Float32Array | Uint16Array | Uint8Array | Int32Array;

/**
 * The caller's array as a {@link MessageBuffer}, remembered so that calls with the same array make no new views. An array that
 * does not start at a multiple of 4 bytes is copied into memory that does.
 */
export class RowView {
  readonly #columns: number;
  #array: Rows | undefined;
  #buffer: MessageBuffer | undefined;

  /** @param columns - elements of a row. */
  constructor(columns: number) {
    this.#columns = columns;
  }

  /** Views `array`, of which the first `length` elements matter. */
  of(array: Rows, length: number): MessageBuffer {
    const stride = this.#columns * array.BYTES_PER_ELEMENT;
    if (array.byteOffset % 4 !== 0) {
      const bytes = new Uint8Array(length * array.BYTES_PER_ELEMENT);
      bytes.set(new Uint8Array(array.buffer, array.byteOffset, bytes.length));
      return new MessageBuffer(bytes, stride);
    }
    if (this.#array !== array || this.#buffer === undefined) {
      this.#array = array;
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      this.#buffer = new MessageBuffer(bytes, stride);
    }
    return this.#buffer;
  }
}
