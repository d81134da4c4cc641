import { requireInteger, requireLength, requireOneOf } from '../operands.js';
import type { AlignedLayout } from './aligned-layout.js';
import type { Permutation } from './permutation.js';

/** Arrays whose rows can be permuted; Uint16Array and Uint8Array carry bfloat16 bits and FP8 codes. */
export type Rows = Float32Array | Float64Array | Uint16Array | Uint8Array | Int32Array;

/** Arrays whose rows can be combined: Uint16Array holds bfloat16 bits. */
export type SummableRows = Float32Array | Float64Array | Uint16Array;

/** Options of {@link permuteRows}. */
export interface PermuteOptions<T extends Rows> {
  /** Elements per row, H. */
  columns: number;
  /** Receives the rows [assignments, H], or [paddedTotal, H] with a layout. Default: a fresh array. */
  out?: T;
  /** Padded places for the rows; padding rows become 0. */
  layout?: AlignedLayout;
}

/** Below this a copy loop beats the call of a native copy. */
const SHORT_ROW_BYTES = 256;

/**
 * Copies each token's row to its places in expert order.
 *
 * Reads every row once and writes it K times, with the engine's native copy.
 *
 * @param x - rows of the tokens [T, H].
 */
export function permuteRows<T extends Rows>(x: T, permutation: Permutation, options: PermuteOptions<T>): T {
  const { columns, layout } = options;
  const { tokens, topK } = permutation;
  requireInteger('columns', columns, 0, 1 << 30);
  requireLength('x', x.length, tokens * columns, '[tokens, columns]');
  if (layout !== undefined) requireMatch(permutation, layout);
  const rows = layout === undefined ? permutation.assignments : layout.paddedTotal;
  const out = options.out ?? (new (x.constructor as new (length: number) => T)(rows * columns) as T);
  requireLength('out', out.length, rows * columns, '[rows, columns]');
  const inverse = layout === undefined ? permutation.inverse : layout.inverse;
  if (layout !== undefined) clearPadding(out, permutation, layout, columns);
  if (columns * x.BYTES_PER_ELEMENT < SHORT_ROW_BYTES) copyShort(x, inverse, tokens, topK, columns, out);
  else copyLong(x, inverse, tokens, topK, columns, out);
  return out;
}

function copyShort(
  x: Rows,
  inverse: Int32Array,
  tokens: number,
  topK: number,
  columns: number,
  out: Rows,
): void {
  for (let token = 0, i = 0; token < tokens; token++) {
    const from = token * columns;
    for (let k = 0; k < topK; k++, i++) {
      if (inverse[i]! < 0) continue;
      const to = inverse[i]! * columns;
      for (let c = 0; c < columns; c++) out[to + c] = x[from + c]!;
    }
  }
}

function copyLong(
  x: Rows,
  inverse: Int32Array,
  tokens: number,
  topK: number,
  columns: number,
  out: Rows,
): void {
  for (let token = 0, i = 0; token < tokens; token++) {
    // One small view per token is what a native copy costs; it is a third of the time of a loop.
    const row = x.subarray(token * columns, (token + 1) * columns);
    for (let k = 0; k < topK; k++, i++) if (inverse[i]! >= 0) out.set(row, inverse[i]! * columns);
  }
}

function clearPadding(
  out: Rows,
  { experts, counts }: Permutation,
  layout: AlignedLayout,
  columns: number,
): void {
  for (let e = 0; e < experts; e++) {
    out.fill(0, (layout.paddedOffsets[e]! + counts[e]!) * columns, layout.paddedOffsets[e + 1]! * columns);
  }
}

/** Copies one number per assignment (weights, scales) into sorted order, 0 in padding. */
export function permuteValues<T extends Rows>(
  values: T,
  permutation: Permutation,
  options: { out?: T; layout?: AlignedLayout } = {},
): T {
  const { layout } = options;
  const length = permutation.tokens * permutation.topK;
  requireLength('values', values.length, length, '[tokens, topK]');
  if (layout !== undefined) requireMatch(permutation, layout);
  const rows = layout === undefined ? permutation.assignments : layout.paddedTotal;
  const out = options.out ?? (new (values.constructor as new (length: number) => T)(rows) as T);
  requireLength('out', out.length, rows, '[rows]');
  const ids = layout === undefined ? permutation.sortedFlat : layout.sortedIds;
  for (let row = 0; row < rows; row++) out[row] = ids[row]! < length ? values[ids[row]!]! : 0;
  return out;
}

/** Options of {@link combineRows}. */
export interface CombineOptions<T extends SummableRows> {
  /** Elements per row, H. */
  columns: number;
  /** Weight of each assignment [T, K]. Default: 1. */
  weights?: Float32Array | Float64Array;
  /** Receives the sums [T, H]; overwritten. Default: a fresh array. */
  out?: T;
  /** Padded places that the rows are in. */
  layout?: AlignedLayout;
  /** `bf16` with Uint16Array rows, whose sums are kept in float32 and rounded once. */
  format?: 'bf16';
}

/**
 * Undoes {@link permuteRows}: out[t] = sum over slots k, in order, of weight[t, k] * y[place of (t, k)]. Slots without a place add nothing.
 *
 * With Float32Array each addition rounds to float32 once, product included: the products of float32 weights are exact in float64.
 *
 * @param y - rows in expert order, as permuted.
 */
export function combineRows<T extends SummableRows>(
  y: T,
  permutation: Permutation,
  options: CombineOptions<T>,
): T {
  const { columns, weights, layout, format } = options;
  const { tokens, topK } = permutation;
  requireInteger('columns', columns, 0, 1 << 30);
  if (y instanceof Uint16Array || format !== undefined) {
    requireOneOf('format', format ?? 'none', ['bf16']);
    requireOneOf('rows of format bf16', y.constructor.name, ['Uint16Array']);
  }
  if (layout !== undefined) requireMatch(permutation, layout);
  const rows = layout === undefined ? permutation.assignments : layout.paddedTotal;
  requireLength('y', y.length, rows * columns, '[rows, columns]');
  if (weights !== undefined) requireLength('weights', weights.length, tokens * topK, '[tokens, topK]');
  const out = options.out ?? (new (y.constructor as new (length: number) => T)(tokens * columns) as T);
  requireLength('out', out.length, tokens * columns, '[tokens, columns]');
  const inverse = layout === undefined ? permutation.inverse : layout.inverse;
  if (y instanceof Uint16Array) combineBf16(y, inverse, weights, tokens, topK, columns, out as Uint16Array);
  else if (y instanceof Float32Array)
    combineF32(y, inverse, weights, tokens, topK, columns, out as Float32Array);
  else combineF64(y, inverse, weights, tokens, topK, columns, out as Float64Array);
  return out;
}

/** Four rows at a time, which halves the traffic to `out` and does not change the order of additions. */
function combineF32(
  y: Float32Array,
  inverse: Int32Array,
  weights: Float32Array | Float64Array | undefined,
  tokens: number,
  topK: number,
  columns: number,
  out: Float32Array,
): void {
  out.fill(0, 0, tokens * columns);
  const rows = new Int32Array(4);
  const scales = new Float64Array(4);
  for (let token = 0; token < tokens; token++) {
    const to = token * columns;
    let pending = 0;
    for (let i = token * topK, end = i + topK; i < end; i++) {
      if (inverse[i]! < 0) continue;
      rows[pending] = inverse[i]!;
      scales[pending] = weights === undefined ? 1 : weights[i]!;
      pending++;
      if (pending === 4) {
        addFour(y, rows, scales, columns, out, to);
        pending = 0;
      }
    }
    for (let j = 0; j < pending; j++) addOne(y, rows[j]! * columns, scales[j]!, columns, out, to);
  }
}

function addFour(
  y: Float32Array,
  rows: Int32Array,
  scales: Float64Array,
  columns: number,
  out: Float32Array,
  to: number,
): void {
  const from0 = rows[0]! * columns;
  const from1 = rows[1]! * columns;
  const from2 = rows[2]! * columns;
  const from3 = rows[3]! * columns;
  const scale0 = scales[0]!;
  const scale1 = scales[1]!;
  const scale2 = scales[2]!;
  const scale3 = scales[3]!;
  for (let c = 0; c < columns; c++) {
    let sum = Math.fround(out[to + c]! + scale0 * y[from0 + c]!);
    sum = Math.fround(sum + scale1 * y[from1 + c]!);
    sum = Math.fround(sum + scale2 * y[from2 + c]!);
    out[to + c] = sum + scale3 * y[from3 + c]!;
  }
}

function addOne(
  y: Float32Array,
  from: number,
  scale: number,
  columns: number,
  out: Float32Array,
  to: number,
): void {
  for (let c = 0; c < columns; c++) out[to + c]! += scale * y[from + c]!;
}

function combineF64(
  y: Float64Array,
  inverse: Int32Array,
  weights: Float32Array | Float64Array | undefined,
  tokens: number,
  topK: number,
  columns: number,
  out: Float64Array,
): void {
  out.fill(0, 0, tokens * columns);
  for (let token = 0, i = 0; token < tokens; token++) {
    const to = token * columns;
    for (let k = 0; k < topK; k++, i++) {
      if (inverse[i]! < 0) continue;
      const from = inverse[i]! * columns;
      const weight = weights === undefined ? 1 : weights[i]!;
      for (let c = 0; c < columns; c++) out[to + c]! += weight * y[from + c]!;
    }
  }
}

function combineBf16(
  y: Uint16Array,
  inverse: Int32Array,
  weights: Float32Array | Float64Array | undefined,
  tokens: number,
  topK: number,
  columns: number,
  out: Uint16Array,
): void {
  const sums = new Float32Array(columns);
  const bits = new Uint32Array(sums.buffer);
  const row = new Float32Array(columns);
  const rowBits = new Uint32Array(row.buffer);
  for (let token = 0, i = 0; token < tokens; token++) {
    sums.fill(0);
    for (let k = 0; k < topK; k++, i++) {
      if (inverse[i]! < 0) continue;
      const from = inverse[i]! * columns;
      const weight = weights === undefined ? 1 : weights[i]!;
      for (let c = 0; c < columns; c++) rowBits[c] = y[from + c]! << 16;
      for (let c = 0; c < columns; c++) sums[c]! += weight * row[c]!;
    }
    const to = token * columns;
    for (let c = 0; c < columns; c++) {
      const word = bits[c]!;
      // Rounding could carry a NaN into infinity; a quiet bit keeps it one.
      out[to + c] =
        (word & 0x7fffffff) > 0x7f800000
          ? (word >>> 16) | 0x40
          : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    }
  }
}

/** A layout of another batch would send rows to wrong places. */
function requireMatch(permutation: Permutation, layout: AlignedLayout): void {
  requireInteger(
    'padValue of the layout',
    layout.padValue,
    permutation.tokens * permutation.topK,
    permutation.tokens * permutation.topK,
  );
}
