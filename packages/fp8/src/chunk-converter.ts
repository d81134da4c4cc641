import type { ScaleLayout } from './checkpoint-scales.js';
import { CodeTables, type Rounder } from './code-tables.js';
import { decodeTable } from './decode.js';
import { encode } from './encode.js';
import { formats } from './format-spec.js';
import { narrowFormat } from './inspect-codes.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';
import { storedToFloat32 } from './stored-values.js';
import { scaleRange } from './value-reader.js';

/**
 * Converts the stored elements of a chunk.
 *
 * @param raw - begins with the elements `first .. first + count - 1` of the tensor.
 * @param stored - receives as many elements of the target.
 */
export type ChunkConverter = (raw: Uint8Array, first: number, count: number, stored: Uint8Array) => void;

/**
 * The fastest way from one stored type to a wider or equally wide one, with the same bits as decoding to float32, scaling
 * in float32, and rounding to nearest even; beyond the range of the target is infinity, as casts of PyTorch have it.
 */
export function chunkConverter(
  source: SafetensorsDtype,
  target: SafetensorsDtype,
  layout: ScaleLayout | undefined,
  scales: Float32Array,
): ChunkConverter {
  const round = rounderTo(target);
  const outOf = (stored: Uint8Array, count: number): Uint16Array | Float32Array =>
    target === 'F32'
      ? new Float32Array(stored.buffer, stored.byteOffset, count)
      : new Uint16Array(stored.buffer, stored.byteOffset, count);
  const narrow = source === 'F4' ? undefined : narrowFormat(source);
  if (narrow !== undefined && CodeTables.fits(layout)) {
    const tables = new CodeTables(narrow, layout, scales, round, target !== 'F32');
    return (raw, first, count, stored) => tables.convert(raw.subarray(0, count), first, outOf(stored, count));
  }
  if (layout === undefined && (source === 'F16' || source === 'BF16')) {
    // 65,536 codes, each with one result.
    const values = decodeTable(source === 'F16' ? formats.f16 : formats.bf16);
    const table = target === 'F32' ? values : new Uint16Array(values.length);
    if (target !== 'F32') round(values, table);
    return (raw, _first, count, stored) => {
      const codes = new Uint16Array(raw.buffer, raw.byteOffset, count);
      lookUp(codes, table, outOf(stored, count));
    };
  }
  if (source === 'F64' && target !== 'F32') {
    // Doubles round once, not through float32.
    const format = target === 'F16' ? 'f16' : 'bf16';
    return (raw, _first, count, stored) => {
      const values = new Float64Array(raw.buffer, raw.byteOffset, count);
      encode(format, values, { overflow: 'nonSaturating', out: outOf(stored, count) as Uint16Array });
    };
  }
  let values = new Float32Array(0);
  return (raw, first, count, stored) => {
    if (values.length < count) values = new Float32Array(count);
    const chunk = values.subarray(0, count);
    storedToFloat32(source, raw, chunk);
    if (layout !== undefined) scaleRange(chunk, first, scales, layout);
    round(chunk, outOf(stored, count));
  };
}

function lookUp(
  codes: Uint16Array,
  table: Uint16Array | Float32Array,
  out: Uint16Array | Float32Array,
): void {
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
}

function rounderTo(target: SafetensorsDtype): Rounder {
  if (target === 'F32') return (values, out) => out.set(values);
  if (target === 'BF16') return (values, out) => roundToBf16(values, out as Uint16Array);
  return (values, out) => {
    encode('f16', values, { overflow: 'nonSaturating', out: out as Uint16Array });
  };
}

/** Adds half a unit in the last place kept, less one where that is even; NaN keeps its sign and becomes quiet. */
function roundToBf16(values: Float32Array, out: Uint16Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const isNan = (word & 0x7fffffff) > 0x7f800000;
    out[i] = isNan ? (word >>> 16) | 0x7fc0 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}
