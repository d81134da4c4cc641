import type { Fp8Exports } from './fp8-exports.js';
import { checkProduct } from './fp8-product-checks.js';
import type { Staging } from './staging.js';

/** An operand of {@link Fp8Kernels.segmentProduct}: a matrix `[rows, k]`. */
export interface ProductOperand {
  /** float32 values, or codes into `table`; row-major `[rows, k]`, or `[k, rows]` with `transposed`. */
  readonly data: Float32Array | Uint8Array | Uint16Array;
  readonly transposed?: boolean;
  /** Value of each code, for codes. */
  readonly table?: Float32Array;
  /** Exponent of each byte code, -110 for zeros; needed for tensor-core accumulation. */
  readonly exponents?: Int8Array;
  /** Exponents of MX scales, which `wide` tensor cores apply themselves: `[rows, ceil(k / 32)]`, not `transposed`. */
  readonly blockExponents?: Int32Array;
  /** One for each tile, in the order of `data`; default: all 1. */
  readonly scales?: Float32Array;
  /** Rows and elements of k under one scale; default: all. */
  readonly tileRows?: number;
  readonly tileK?: number;
}

/** Options of {@link Fp8Kernels.segmentProduct}. */
export interface SegmentProductOptions {
  /** Ascending starts of the segments of k, and k itself; a segment lies under one scale of each operand. */
  readonly starts: readonly number[];
  /**
   * How a partial sum joins the result, as a fused multiply-add: `deepgemm` (default) fma(aScale * bScale, partial,
   * out), `kernelpy` fma(partial * aScale, bScale, out). `chain`: partial sums start from `out` and replace it.
   */
  readonly promotion?: 'deepgemm' | 'kernelpy' | 'chain';
  /**
   * Products that a tensor core fuses: with 13 alignment and 13 output bits (Hopper 32, Ada 16), or `wide`; default:
   * products are added one after the other in float32. Operands must be finite; with `chain` and without `wide`, out 0
   * or of magnitude 2^-95 to 2^100.
   */
  readonly fused?: number;
  /** 25 alignment bits and float32 results, 32 products fused (Blackwell). */
  readonly wide?: boolean;
}

/** Rows, columns and floats of each operand that are packed at a time, and elements of k unless a segment is longer. */
const CHUNK_ROWS = 512;
const CHUNK_FLOATS = 1 << 20;
const CHUNK_K = 2048;
const SCRATCH_BYTES = 256;

const promotions = { deepgemm: 0, kernelpy: 1, chain: 2 } as const;

/** Where the parts of a packed chunk lie. */
interface Packed {
  readonly values: number;
  readonly exponents: number;
  readonly scales: number;
  /** MX exponents, 0 for none. */
  readonly shifts: number;
  readonly staged: number;
  readonly table: number;
  readonly exponentTable: number;
}

/** Out `[m, n]` = (chain: +=) the product of a `[m, k]` and b `[n, k]`. */
export function segmentProduct(
  wasm: Fp8Exports,
  staging: Staging,
  memory: ArrayBufferLike,
  a: ProductOperand,
  b: ProductOperand,
  out: Float32Array,
  [m, n, k]: readonly [number, number, number],
  options: SegmentProductOptions,
): void {
  const { starts, promotion = 'deepgemm', wide = false } = options;
  const fused = wide ? 32 : (options.fused ?? 0);
  checkProduct(a, b, out, [m, n, k], options);
  if (m === 0 || n === 0) return;
  const chains = promotion === 'chain';
  if (starts.length === 1) {
    if (!chains) out.fill(0, 0, m * n);
    return;
  }
  const chunks = kChunks(starts);
  const longest = chunks.reduce((most, [from, to]) => Math.max(most, starts[to]! - starts[from]!), 0);
  const mostSegments = chunks.reduce((most, [from, to]) => Math.max(most, to - from), 0);
  const fit = Math.max(8, Math.floor(Math.min(CHUNK_ROWS, CHUNK_FLOATS / longest) / 8) * 8);
  const aWidth = fused === 0 ? 4 : 2;
  const [mFit, nFit] = [Math.min(fit, roundUp(m, 4)), Math.min(fit, roundUp(n, 8))];
  staging.begin();
  const aPacked = reserve(staging, memory, a, mFit, longest, mostSegments, fused !== 0);
  const bPacked = reserve(staging, memory, b, nFit, longest, mostSegments, fused !== 0);
  const startsAt = staging.reserve((mostSegments + 1) * 4);
  const cAt = staging.reserve(mFit * nFit * 4);
  const scratch = staging.reserve(SCRATCH_BYTES);
  const c = new Float32Array(memory, cAt, mFit * nFit);
  for (let j = 0; j < n; j += nFit) {
    const cols = Math.min(nFit, n - j);
    const nHere = roundUp(cols, 8);
    for (let i = 0; i < m; i += mFit) {
      const rows = Math.min(mFit, m - i);
      const mHere = roundUp(rows, aWidth);
      if (chains) {
        for (let r = 0; r < rows; r++) {
          c.set(out.subarray((i + r) * n + j, (i + r) * n + j + cols), r * nHere);
          c.fill(0, r * nHere + cols, (r + 1) * nHere);
        }
        c.fill(0, rows * nHere, mHere * nHere);
      } else c.fill(0, 0, mHere * nHere);
      for (const [from, to] of chunks) {
        const [k0, k1] = [starts[from]!, starts[to]!];
        const relative = new Int32Array(memory, startsAt, to - from + 1);
        for (let s = from; s <= to; s++) relative[s - from] = starts[s]! - k0;
        packChunk(wasm, memory, a, aPacked, [m, k], [i, i + rows], starts.slice(from, to + 1), aWidth, mHere);
        packChunk(wasm, memory, b, bPacked, [n, k], [j, j + cols], starts.slice(from, to + 1), 8, nHere);
        wasm.segmentProduct(
          aPacked.values,
          aPacked.exponents,
          bPacked.values,
          bPacked.exponents,
          mHere,
          nHere,
          k1 - k0,
          startsAt,
          to - from,
          aPacked.scales,
          bPacked.scales,
          promotions[promotion],
          fused,
          wide ? 1 : 0,
          aPacked.shifts,
          bPacked.shifts,
          cAt,
          nHere * 4,
          scratch,
        );
      }
      for (let r = 0; r < rows; r++) out.set(c.subarray(r * nHere, r * nHere + cols), (i + r) * n + j);
    }
  }
}

/** Ranges of segments that span at most {@link CHUNK_K}, or are one segment. */
function kChunks(starts: readonly number[]): [from: number, to: number][] {
  const chunks: [number, number][] = [];
  for (let from = 0; from + 1 < starts.length; ) {
    let to = from + 1;
    while (to + 1 < starts.length && starts[to + 1]! - starts[from]! <= CHUNK_K) to++;
    chunks.push([from, to]);
    from = to;
  }
  return chunks;
}

function reserve(
  staging: Staging,
  memory: ArrayBufferLike,
  operand: ProductOperand,
  rows: number,
  k: number,
  segments: number,
  withExponents: boolean,
): Packed {
  const { data, table, exponents } = operand;
  const packed = {
    values: staging.reserve(rows * k * 4),
    exponents: withExponents ? staging.reserve(rows * k) : 0,
    scales: staging.reserve(segments * rows * 4),
    shifts: operand.blockExponents === undefined ? 0 : staging.reserve(Math.ceil(k / 32) * rows * 4),
    staged: data.buffer === memory ? 0 : staging.reserve(rows * k * data.BYTES_PER_ELEMENT),
    table: table === undefined ? 0 : staging.reserve(table.byteLength),
    exponentTable: withExponents ? staging.reserve(256) : 0,
  };
  if (table !== undefined) new Float32Array(memory, packed.table, table.length).set(table);
  if (withExponents) new Int8Array(memory, packed.exponentTable, 256).set(exponents!);
  return packed;
}

/** Packs rows `range` and the segments between `starts` of an operand, with their scales. */
function packChunk(
  wasm: Fp8Exports,
  memory: ArrayBufferLike,
  operand: ProductOperand,
  packed: Packed,
  [rows, k]: readonly [number, number],
  [first, last]: readonly [number, number],
  starts: readonly number[],
  width: number,
  paddedRows: number,
): void {
  const { data, transposed = false } = operand;
  const size = data.BYTES_PER_ELEMENT;
  const [k0, k1] = [starts[0]!, starts[starts.length - 1]!];
  const [count, length] = [last - first, k1 - k0];
  const lineLength = transposed ? rows : k;
  let address = packed.staged;
  let line = (transposed ? count : length) * size;
  if (address === 0) {
    line = lineLength * size;
    address = data.byteOffset + (transposed ? k0 * line + first * size : first * line + k0 * size);
  } else {
    const [lines, across] = transposed ? [length, count] : [count, length];
    const start = transposed ? k0 * lineLength + first : first * lineLength + k0;
    const stage =
      data instanceof Float32Array
        ? new Float32Array(memory, address, count * length)
        : size === 1
          ? new Uint8Array(memory, address, count * length)
          : new Uint16Array(memory, address, count * length);
    if (across === lineLength) stage.set(data.subarray(start, start + lines * across));
    else {
      for (let i = 0; i < lines; i++) {
        stage.set(data.subarray(start + i * lineLength, start + i * lineLength + across), i * across);
      }
    }
  }
  const [rowStride, kStride] = transposed ? [size, line] : [line, size];
  const kind = data instanceof Float32Array ? 0 : size;
  wasm.packTiles(kind, address, rowStride, kStride, count, length, packed.table, packed.values, width);
  if (packed.exponents !== 0) {
    wasm.packBytes(address, rowStride, kStride, count, length, packed.exponentTable, packed.exponents, width);
  }
  spreadScales(memory, operand, packed.scales, [rows, k], first, count, starts, paddedRows);
  const { blockExponents } = operand;
  if (blockExponents === undefined) return;
  const [blocks, blocksHere] = [Math.ceil(k / 32), Math.ceil(length / 32)];
  const shifts = new Int32Array(memory, packed.shifts, blocksHere * paddedRows);
  for (let block = 0; block < blocksHere; block++) {
    for (let r = 0; r < count; r++) {
      shifts[block * paddedRows + r] = blockExponents[(first + r) * blocks + k0 / 32 + block]!;
    }
    shifts.fill(0, block * paddedRows + count, (block + 1) * paddedRows);
  }
}

/** Scales by segment and row, `[segments][paddedRows]`. */
function spreadScales(
  memory: ArrayBufferLike,
  operand: ProductOperand,
  address: number,
  [rows, k]: readonly [number, number],
  first: number,
  count: number,
  starts: readonly number[],
  paddedRows: number,
): void {
  const { scales, transposed = false, tileRows = rows, tileK = k } = operand;
  const segments = starts.length - 1;
  const spread = new Float32Array(memory, address, segments * paddedRows);
  if (scales === undefined) {
    spread.fill(1);
    return;
  }
  const rowStep = transposed ? 1 : Math.ceil(k / tileK);
  const kStep = transposed ? Math.ceil(rows / tileRows) : 1;
  for (let s = 0; s < segments; s++) {
    const base = Math.floor(starts[s]! / tileK) * kStep;
    const at = s * paddedRows;
    for (let r = 0; r < count; r++) {
      spread[at + r] = scales[base + Math.floor((first + r) / tileRows) * rowStep]!;
    }
    spread.fill(0, at + count, at + paddedRows);
  }
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}
