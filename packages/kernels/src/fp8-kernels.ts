import { needCount, needLength } from './checks.js';
import { type ProductOperand, type SegmentProductOptions, segmentProduct } from './fp8-product.js';
import { KernelsBase } from './kernels-base.js';

/** Formats that the FP8 kernels encode. */
export type Fp8ElementFormat = 'e4m3fn' | 'e5m2';

/** Options of {@link Fp8Kernels.quantizeTiles}. */
export interface QuantizeTilesOptions {
  /** Rows and columns under one scale. */
  readonly tileRows: number;
  readonly tileCols: number;
  /** Least amax, default 0. */
  readonly amaxFloor?: number;
  /**
   * How a scale follows from amax: `amax` (default) max(amax, amaxFloor) / max in float32, at least 2^-126, 1 for 0;
   * `powerOfTwo` that rounded up by exponent bits; `mxFloor` 2^(floor(log2 amax) - floor(log2 max)) and `mxCeil`
   * 2^ceil(log2(amax / max)), exponents within -127..127, 2^-127 for 0.
   */
  readonly rule?: 'amax' | 'powerOfTwo' | 'mxFloor' | 'mxCeil';
  /** Multiply by the float32 reciprocal of the scale instead of dividing by it. */
  readonly reciprocal?: boolean;
}

/** The widest matrix that {@link Fp8Kernels.quantizeTiles} takes. */
export const MAXIMUM_TILED_COLUMNS: number = 1 << 20;

/** Elements per call that stay in a level-2 cache, and the most that are read once for amax and codes. */
const CHUNK_ELEMENTS = 1 << 14;
const ONE_PASS_ELEMENTS = 1 << 18;

const formatNumbers: Readonly<Record<Fp8ElementFormat, number>> = { e4m3fn: 0, e5m2: 1 };
const rules = { amax: 0, powerOfTwo: 1, mxFloor: 2, mxCeil: 3 } as const;
const tops: Readonly<Record<Fp8ElementFormat, number>> = { e4m3fn: 448, e5m2: 57344 };

/**
 * FP8 conversion, quantisation and products over one {@link Arena}; operands may lie anywhere, those in the arena are
 * read in place. Working space is the free end of the arena, at most 48 MiB.
 *
 * @example
 * ```ts
 * import { Arena, Fp8Kernels } from '@moestack/kernels';
 *
 * const kernels = new Fp8Kernels(Arena.create({ maximumBytes: 1 << 24 }));
 * const codes = new Uint8Array(3);
 * kernels.encode('e4m3fn', Float32Array.of(1, -0.3, 1e9), codes);
 * console.log(codes); // 0x38, 0xaa, 0x7e
 * ```
 */
export class Fp8Kernels extends KernelsBase {
  /** Encodes values to nearest-even, saturating codes; NaN becomes a quiet NaN of its sign. */
  encode(format: Fp8ElementFormat, values: Float32Array, codes: Uint8Array): void {
    needLength('codes', codes, values.length);
    this.stats.calls++;
    const { buffer } = this.arena.memory;
    const size = Math.min(CHUNK_ELEMENTS, values.length);
    const staging = this.staging;
    staging.begin();
    const from = staging.reserve(size * 4);
    const to = staging.reserve(size + 16);
    const staged = new Float32Array(buffer, from, size);
    const encoded = new Uint8Array(buffer, to, size);
    const number = formatNumbers[format];
    for (let i = 0; i < values.length; i += size) {
      const count = Math.min(size, values.length - i);
      staged.set(count === values.length ? values : values.subarray(i, i + count));
      this.wasm.encodeFp8(number, from, count, to);
      codes.set(count === size ? encoded : encoded.subarray(0, count), i);
    }
  }

  /** Decodes codes to their exact values; NaN codes become the canonical NaN. */
  decode(format: Fp8ElementFormat, codes: Uint8Array, out: Float32Array): void {
    needLength('out', out, codes.length);
    this.stats.calls++;
    const { buffer } = this.arena.memory;
    const size = Math.min(CHUNK_ELEMENTS, codes.length);
    const staging = this.staging;
    staging.begin();
    const from = staging.reserve(size + 16);
    const to = staging.reserve(size * 4 + 64);
    const staged = new Uint8Array(buffer, from, size);
    const decoded = new Float32Array(buffer, to, size);
    const number = formatNumbers[format];
    for (let i = 0; i < codes.length; i += size) {
      const count = Math.min(size, codes.length - i);
      staged.set(count === codes.length ? codes : codes.subarray(i, i + count));
      this.wasm.decodeFp8(number, from, count, to);
      out.set(count === size ? decoded : decoded.subarray(0, count), i);
    }
  }

  /**
   * Quantises a matrix by tiles, whose scales follow from their largest finite magnitude (amax). Codes are nearest even
   * and saturating.
   *
   * @param values - `[rows, cols]`
   * @param codes - `[rows, cols]`
   * @param scales - `[ceil(rows / tileRows), ceil(cols / tileCols)]`
   */
  quantizeTiles(
    format: Fp8ElementFormat,
    values: Float32Array,
    [rows, cols]: readonly [number, number],
    options: QuantizeTilesOptions,
    codes: Uint8Array,
    scales: Float32Array,
  ): void {
    needCount('rows', rows, 0);
    needCount('cols', cols, 0);
    needCount('tileRows', options.tileRows, 1);
    needCount('tileCols', options.tileCols, 1);
    needLength('values', values, rows * cols);
    needLength('codes', codes, rows * cols);
    const tileRows = Math.min(options.tileRows, Math.max(rows, 1));
    const tileCols = Math.min(options.tileCols, Math.max(cols, 1));
    const blockCols = Math.ceil(cols / tileCols);
    needLength('scales', scales, Math.ceil(rows / tileRows) * blockCols);
    if (rows * cols === 0) return;
    this.stats.calls++;
    const blockElements = tileRows * cols;
    const onePass = blockElements <= ONE_PASS_ELEMENTS;
    // Whole blocks of rows at a time, or a few rows of one block.
    const blocks = onePass ? Math.max(1, Math.floor(CHUNK_ELEMENTS / blockElements)) : 1;
    const chunkRows = onePass
      ? Math.min(blocks * tileRows, rows)
      : Math.min(tileRows, Math.max(1, Math.floor(CHUNK_ELEMENTS / cols)));
    const staging = this.staging;
    const { buffer } = this.arena.memory;
    staging.begin();
    const x = staging.reserve(chunkRows * cols * 4);
    const out = staging.reserve(chunkRows * cols + 16);
    const perGroup = blocks * blockCols;
    const amax = staging.reserve(perGroup * 4);
    const scaled = staging.reserve(perGroup * 4);
    const factors = staging.reserve(perGroup * 4);
    const staged = new Float32Array(buffer, x, chunkRows * cols);
    const encoded = new Uint8Array(buffer, out, chunkRows * cols);
    const amaxView = new Float32Array(buffer, amax, perGroup);
    const scaleView = new Float32Array(buffer, scaled, perGroup);
    const number = formatNumbers[format];
    const rule = options.rule ?? 'amax';
    // Multiplying by the reciprocal of a power of two is the same as dividing by it, and faster.
    const multiply = options.reciprocal === true || rule !== 'amax' ? 1 : 0;
    const load = (row: number, count: number): void => {
      staged.set(values.subarray(row * cols, (row + count) * cols));
    };
    const encode = (row: number, count: number): void => {
      this.wasm.encodeTiles(number, x, count, cols, tileRows, tileCols, factors, multiply, out);
      const all = count === chunkRows;
      codes.set(all ? encoded : encoded.subarray(0, count * cols), row * cols);
    };
    for (let row = 0; row < rows; row += blocks * tileRows) {
      const group = Math.min(blocks * tileRows, rows - row);
      const tiles = Math.ceil(group / tileRows) * blockCols;
      amaxView.fill(0, 0, tiles);
      for (let r = 0; r < group; r += chunkRows) {
        const count = Math.min(chunkRows, group - r);
        load(row + r, count);
        this.wasm.tileAmax(x, count, cols, tileRows, tileCols, amax);
      }
      this.wasm.tileScales(
        amax,
        tiles,
        tops[format],
        options.amaxFloor ?? 0,
        rules[rule],
        multiply,
        scaled,
        factors,
      );
      scales.set(scaleView.subarray(0, tiles), Math.floor(row / tileRows) * blockCols);
      if (group <= chunkRows) {
        encode(row, group);
        continue;
      }
      for (let r = 0; r < group; r += chunkRows) {
        const count = Math.min(chunkRows, group - r);
        load(row + r, count);
        encode(row + r, count);
      }
    }
  }

  /**
   * Block-scaled product: out `[m, n]` = a `[m, k]` times b `[n, k]` transposed, in segments of k whose partial sums
   * are scaled and added by float32 fused multiply-add. Bit for bit as {@link reference.segmentProduct}.
   */
  segmentProduct(
    a: ProductOperand,
    b: ProductOperand,
    out: Float32Array,
    shape: readonly [m: number, n: number, k: number],
    options: SegmentProductOptions,
  ): void {
    segmentProduct(this.wasm, this.staging, this.arena.memory.buffer, a, b, out, shape, options);
    const [m, n, k] = shape;
    this.stats.calls++;
    this.stats.gemmRows += m;
    this.stats.gemmMacs += m * n * k;
  }
}
