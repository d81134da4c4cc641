import { needCount, needLength } from './checks.js';
import type { Fp8ElementFormat } from './fp8-kernels.js';
import { KernelsBase } from './kernels-base.js';

/** Export of `assembly/widen.ts`; addresses in bytes. */
export interface WidenExports {
  widenBf16(x: number, n: number, out: number): void;
}

/** Elements widened at a time: what follows finds them in the level-2 cache. */
const CHUNK_ELEMENTS = 1 << 15;

const formatNumbers: Readonly<Record<Fp8ElementFormat, number>> = { e4m3fn: 0, e5m2: 1 };
const tops: Readonly<Record<Fp8ElementFormat, number>> = { e4m3fn: 448, e5m2: 57344 };

/**
 * Kernels whose operands are BF16 numbers, given by their bits, over one {@link Arena}.
 *
 * @example
 * ```ts
 * import { Arena, Bf16Kernels } from '@moestack/kernels';
 *
 * const kernels = new Bf16Kernels(Arena.create({ maximumBytes: 1 << 22 }));
 * const out = new Float32Array(2);
 * kernels.widen(Uint16Array.of(0x3f80, 0xc000), out);
 * console.log(out); // 1, -2
 * ```
 */
export class Bf16Kernels extends KernelsBase {
  /** Values of BF16 numbers. */
  widen(values: Uint16Array, out: Float32Array): void {
    needLength('out', out, values.length);
    this.stats.calls++;
    const { buffer } = this.arena.memory;
    const size = Math.min(CHUNK_ELEMENTS, values.length);
    this.staging.begin();
    const from = this.staging.reserve(size * 2);
    const to = this.staging.reserve(size * 4);
    const staged = new Uint16Array(buffer, from, size);
    const widened = new Float32Array(buffer, to, size);
    for (let i = 0; i < values.length; i += size) {
      const count = Math.min(size, values.length - i);
      staged.set(values.subarray(i, i + count));
      this.wasm.widenBf16(from, count, to);
      out.set(count === size ? widened : widened.subarray(0, count), i);
    }
  }

  /**
   * Quantises a matrix by tiles: scale = amax / max in float32, at least 2^-126, 1 for an amax of 0; codes of
   * value / scale, nearest even and saturating. The same bits as `Fp8Kernels.quantizeTiles` gives of the widened matrix.
   *
   * @param values - `[rows, cols]`
   * @param tile - rows and columns under one scale
   * @param codes - `[rows, cols]`
   * @param scales - `[ceil(rows / tile rows), ceil(cols / tile cols)]`
   */
  quantizeTiles(
    format: Fp8ElementFormat,
    values: Uint16Array,
    [rows, cols]: readonly [number, number],
    tile: readonly [rows: number, cols: number],
    codes: Uint8Array,
    scales: Float32Array,
  ): void {
    needCount('rows', rows, 0);
    needCount('cols', cols, 0);
    needCount('tile rows', tile[0], 1);
    needCount('tile cols', tile[1], 1);
    needLength('values', values, rows * cols);
    needLength('codes', codes, rows * cols);
    const tileRows = Math.min(tile[0], Math.max(rows, 1));
    const tileCols = Math.min(tile[1], Math.max(cols, 1));
    const blockCols = Math.ceil(cols / tileCols);
    needLength('scales', scales, Math.ceil(rows / tileRows) * blockCols);
    if (rows * cols === 0) return;
    this.stats.calls++;
    const chunkRows = Math.min(tileRows, Math.max(1, Math.floor(CHUNK_ELEMENTS / cols)));
    const { staging } = this;
    const { buffer } = this.arena.memory;
    staging.begin();
    const bits = staging.reserve(tileRows * cols * 2);
    const x = staging.reserve(chunkRows * cols * 4);
    const out = staging.reserve(chunkRows * cols + 16);
    const amax = staging.reserve(blockCols * 4);
    const scaled = staging.reserve(blockCols * 4);
    const factors = staging.reserve(blockCols * 4);
    const staged = new Uint16Array(buffer, bits, tileRows * cols);
    const encoded = new Uint8Array(buffer, out, chunkRows * cols);
    const amaxView = new Float32Array(buffer, amax, blockCols);
    const scaleView = new Float32Array(buffer, scaled, blockCols);
    const number = formatNumbers[format];
    for (let row = 0; row < rows; row += tileRows) {
      const height = Math.min(tileRows, rows - row);
      staged.set(values.subarray(row * cols, (row + height) * cols));
      amaxView.fill(0);
      for (let r = 0; r < height; r += chunkRows) {
        const count = Math.min(chunkRows, height - r);
        this.wasm.widenBf16(bits + r * cols * 2, count * cols, x);
        this.wasm.tileAmax(x, count, cols, tileRows, tileCols, amax);
      }
      this.wasm.tileScales(amax, blockCols, tops[format], 0, 0, 0, scaled, factors);
      scales.set(scaleView, (row / tileRows) * blockCols);
      for (let r = 0; r < height; r += chunkRows) {
        const count = Math.min(chunkRows, height - r);
        // A matrix of one chunk is still there from the first pass.
        if (height > chunkRows) this.wasm.widenBf16(bits + r * cols * 2, count * cols, x);
        this.wasm.encodeTiles(number, x, count, cols, tileRows, tileCols, factors, 0, out);
        codes.set(count === chunkRows ? encoded : encoded.subarray(0, count * cols), (row + r) * cols);
      }
    }
  }
}
