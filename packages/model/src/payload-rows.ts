import type { PayloadFormat, RowArray } from '@moestack/collectives';
import { decode } from '@moestack/fp8';
import type { Kernels } from '@moestack/kernels';

/** Channels that share one FP8 scale. */
export const SCALE_CHANNELS = 128;

let e4m3Values: Float32Array | undefined;

/** Value of every E4M3 code. */
export function e4m3Table(): Float32Array {
  e4m3Values ??= decode(
    'e4m3fn',
    Uint8Array.from({ length: 256 }, (_, code) => code),
  );
  return e4m3Values;
}

/** Rounds `length` float32 values, given as bits, to bfloat16 codes: ties to even, NaN becomes 0x7fc0. */
export function encodeBf16(
  bits: Uint32Array,
  from: number,
  length: number,
  out: Uint16Array,
  to: number,
): void {
  for (let i = 0; i < length; i++) {
    const word = bits[from + i]!;
    out[to + i] = (word & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** Float32 bits of `length` bfloat16 codes. */
export function decodeBf16(
  codes: Uint16Array,
  from: number,
  length: number,
  out: Uint32Array,
  to: number,
): void {
  for (let i = 0; i < length; i++) out[to + i] = codes[from + i]! << 16;
}

/** Float32 values of `rows` rows of E4M3 codes with one scale for each 128 channels. */
export function decodeE4m3(
  codes: Uint8Array,
  scales: Float32Array,
  fromRow: number,
  rows: number,
  hidden: number,
  out: Float32Array,
  to: number,
): void {
  const table = e4m3Table();
  const end = rows * hidden;
  const first = fromRow * hidden;
  const tile = (fromRow * hidden) / SCALE_CHANNELS;
  for (let start = 0; start < end; start += SCALE_CHANNELS) {
    const scale = scales[tile + start / SCALE_CHANNELS]!;
    for (let i = start; i < start + SCALE_CHANNELS; i++) out[to + i] = table[codes[first + i]!]! * scale;
  }
}

/** Rows of one rank as they are sent: activations in the arena become the payload format. */
export class PayloadEncoder {
  /** Scales of the last `fp8` rows. */
  readonly scales: Float32Array | undefined;
  private readonly kernels: Kernels;
  private readonly hidden: number;
  private readonly bits: Uint32Array;
  private readonly halves: Uint16Array | undefined;
  private readonly codes: Uint8Array | undefined;

  /** @param format - `f32` hands rows on as they are. */
  constructor(kernels: Kernels, format: PayloadFormat, hidden: number, maxTokens: number) {
    this.kernels = kernels;
    this.hidden = hidden;
    this.bits = new Uint32Array(kernels.arena.memory.buffer);
    if (format === 'bf16') this.halves = new Uint16Array(maxTokens * hidden);
    if (format !== 'fp8') return;
    this.codes = kernels.arena.u8(maxTokens * hidden);
    this.scales = kernels.arena.f32((maxTokens * hidden) / SCALE_CHANNELS);
  }

  /** `rows` `[tokens, hidden]`, a view of the arena, in the payload format; valid until the next call. */
  encode(rows: Float32Array, tokens: number): RowArray {
    if (this.halves !== undefined) {
      encodeBf16(this.bits, rows.byteOffset / 4, tokens * this.hidden, this.halves, 0);
      return this.halves;
    }
    if (this.codes !== undefined && this.scales !== undefined) {
      this.kernels.quantizeActivations(rows, this.codes, this.scales, tokens, this.hidden);
      return this.codes;
    }
    return rows;
  }
}

/** Writes received rows of one payload format into the arena. */
export class PayloadDecoder {
  private readonly hidden: number;
  private readonly bits: Uint32Array;
  private readonly values: Float32Array;

  constructor(kernels: Kernels, hidden: number) {
    this.hidden = hidden;
    this.bits = new Uint32Array(kernels.arena.memory.buffer);
    this.values = new Float32Array(kernels.arena.memory.buffer);
  }

  /** Decodes rows `from ..` of `source` to rows `to ..` of `target`. */
  decode(
    source: RowArray,
    scales: Float32Array | undefined,
    from: number,
    rows: number,
    target: Float32Array,
    to: number,
  ): void {
    const { hidden } = this;
    const out = target.byteOffset / 4 + to * hidden;
    if (rows === 0) return;
    if (source instanceof Float32Array) {
      this.values.set(source.subarray(from * hidden, (from + rows) * hidden), out);
    } else if (source instanceof Uint16Array) {
      decodeBf16(source, from * hidden, rows * hidden, this.bits, out);
    } else if (scales !== undefined) {
      decodeE4m3(source, scales, from, rows, hidden, this.values, out);
    }
  }
}
