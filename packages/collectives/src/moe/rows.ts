import { bf16Values, roundBitsToBf16 } from './bf16.js';
import type { CombineFormat } from './config.js';
import type { MessageBuffer } from './message-buffer.js';

/** One row of float32 sums: rows of messages are added in the caller's order, each addition rounded to float32. */
export class RowSum {
  readonly values: Float32Array;
  readonly #bits: Uint32Array;
  readonly #format: CombineFormat;

  constructor(hidden: number, format: CombineFormat) {
    this.values = new Float32Array(hidden);
    this.#bits = new Uint32Array(this.values.buffer);
    this.#format = format;
  }

  /** Starts at zero. */
  clear(): void {
    this.values.fill(0);
  }

  /** Adds the row at byte `offset`. */
  add(buffer: MessageBuffer, offset: number): void {
    if (this.#format === 'f32') addF32(this.values, buffer.f32, offset >>> 2);
    else addBf16(this.values, buffer.u16, offset >>> 1);
  }

  /** Adds `weight` times the row at byte `offset`: the product is rounded, then the sum. */
  addScaled(buffer: MessageBuffer, offset: number, weight: number): void {
    if (this.#format === 'f32') addScaledF32(this.values, buffer.f32, offset >>> 2, weight);
    else addScaledBf16(this.values, buffer.u16, offset >>> 1, weight);
  }

  /** Writes the row at byte `offset`; bfloat16 is rounded to nearest even. */
  store(buffer: MessageBuffer, offset: number): void {
    if (this.#format === 'f32') storeF32(this.values, buffer.f32, offset >>> 2);
    else this.storeBf16(buffer, offset);
  }

  /** Writes the row as bfloat16, whatever the format of the summands. */
  storeBf16(buffer: MessageBuffer, offset: number): void {
    roundBitsToBf16(this.#bits, 0, this.values.length, buffer.u16, offset >>> 1);
  }
}

function addF32(sum: Float32Array, rows: Float32Array, start: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + rows[start + i]!;
}

function addBf16(sum: Float32Array, rows: Uint16Array, start: number): void {
  const table = bf16Values();
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + table[rows[start + i]!]!;
}

function addScaledF32(sum: Float32Array, rows: Float32Array, start: number, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + Math.fround(rows[start + i]! * weight);
}

function addScaledBf16(sum: Float32Array, rows: Uint16Array, start: number, weight: number): void {
  const table = bf16Values();
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + Math.fround(table[rows[start + i]!]! * weight);
}

function storeF32(sum: Float32Array, rows: Float32Array, start: number): void {
  for (let i = 0; i < sum.length; i++) rows[start + i] = sum[i]!;
}
