import type { WeightData } from '@moestack/kernels';

/** Rows or columns of a matrix that one rank holds. */
export interface WeightSlice {
  readonly axis: 'rows' | 'columns';
  readonly first: number;
  readonly count: number;
}

/** A piece of a slice, and where it begins within the slice. */
export interface SlicePiece {
  readonly data: WeightData;
  readonly offset: number;
}

/** Rows and columns that share one scale. */
export const SCALE_BLOCK = 128;

/**
 * Cuts a slice out of a matrix without touching a code or a scale. A slice of FP8 codes that begins inside a block of scales becomes two pieces: what is left of
 * that block, and the rest, whose blocks begin where those of the matrix do.
 */
export function sliceWeight(weight: WeightData, slice: WeightSlice): SlicePiece[] {
  const { first, count, axis } = slice;
  const size = axis === 'rows' ? weight.rows : weight.cols;
  if (!(first >= 0 && count >= 1 && first + count <= size)) {
    throw new RangeError(`expected a slice of ${size} ${axis}, got ${count} from ${first}`);
  }
  const cut = axis === 'rows' ? rowPiece : columnPiece;
  const edge = Math.ceil(first / SCALE_BLOCK) * SCALE_BLOCK;
  if (weight.scales === undefined || edge === first || edge >= first + count) {
    return [{ data: cut(weight, first, count), offset: 0 }];
  }
  const before = edge - first;
  return [
    { data: cut(weight, first, before), offset: 0 },
    { data: cut(weight, edge, count - before), offset: before },
  ];
}

/** Most pieces of a slice, for memory's sake. */
export const MOST_PIECES = 2;

function rowPiece(weight: WeightData, first: number, count: number): WeightData {
  const { format, cols, data, scales } = weight;
  const piece = { format, rows: count, cols, data: data.subarray(first * cols, (first + count) * cols) };
  if (scales === undefined) return piece;
  const stride = Math.ceil(cols / SCALE_BLOCK);
  const from = Math.floor(first / SCALE_BLOCK);
  const to = Math.ceil((first + count) / SCALE_BLOCK);
  return { ...piece, scales: scales.subarray(from * stride, to * stride) };
}

function columnPiece(weight: WeightData, first: number, count: number): WeightData {
  const { format, rows, cols, data, scales } = weight;
  const piece = { format, rows, cols: count, data: columns(data, rows, cols, first, count) };
  if (scales === undefined) return piece;
  const from = Math.floor(first / SCALE_BLOCK);
  const blocks = Math.ceil((first + count) / SCALE_BLOCK) - from;
  const stride = Math.ceil(cols / SCALE_BLOCK);
  return { ...piece, scales: columns(scales, scales.length / stride, stride, from, blocks) };
}

function columns<A extends Float32Array | Uint16Array | Uint8Array>(
  data: A,
  rows: number,
  cols: number,
  first: number,
  count: number,
): A {
  const out = data.slice(0, rows * count) as A;
  for (let row = 0; row < rows; row++) {
    out.set(data.subarray(row * cols + first, row * cols + first + count), row * count);
  }
  return out;
}
