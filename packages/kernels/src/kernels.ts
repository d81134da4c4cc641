import { AttentionKernels } from './attention-kernels.js';
import { needCount, needLength, needStride, span } from './checks.js';
import { KernelsError } from './errors.js';
import { pack } from './pack.js';
import type { GemmShape, LinearOptions, PackOptions, W8A8Options, WeightData } from './types.js';
import { PackedWeight, type Weight } from './weight.js';

const noOptions: LinearOptions & W8A8Options & PackOptions = {};

/** Layout number of `[k, n]` matrices in the binary. */
const COLUMNS = 2;

/**
 * The numeric kernels over one {@link Arena}. Views of the arena are used in place; other typed arrays are copied in and
 * out. Calls on arena views allocate nothing.
 *
 * Products are exact to their stated order of operations (see {@link reference}), so a row's result does not depend on
 * how many rows are computed with it. Working space comes from the free end of the arena, up to about 0.6 MiB for products and,
 * for attention, 64 bytes for each token of context plus the size of the queries.
 *
 * @example
 * ```ts
 * import { Arena, Kernels } from '@moestack/kernels';
 *
 * const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
 * const weight = kernels.pack({ format: 'f32', rows: 2, cols: 3, data: Float32Array.of(1, 2, 3, 4, 5, 6) });
 * const out = new Float32Array(2);
 * kernels.linear(weight, Float32Array.of(1, 0, -1), out, 1);
 * console.log(out); // -2, -2
 * ```
 */
export class Kernels extends AttentionKernels {
  /** Copies a weight into the arena, in the order that its products need. */
  pack(weight: WeightData, options: PackOptions = noOptions): Weight {
    return pack(weight, options, this.arena, this.staging, this.wasm);
  }

  /**
   * out[i, r] = sum_c x[i, c] W[rowStart + r, c], with x `[m, cols]` and out `[m, rowCount]`.
   *
   * For e4m3fn weights |x| must stay below 2^64 (the decoder's internal factor).
   */
  linear(
    weight: Weight,
    x: Float32Array,
    out: Float32Array,
    m: number,
    options: LinearOptions = noOptions,
  ): void {
    const w = this.#packed(weight);
    const rowStart = options.rowStart ?? 0;
    const rowCount = options.rowCount ?? w.rows - rowStart;
    this.#needRows(w, rowStart, rowCount, w.layout === 'rows');
    this.#product(
      w,
      x,
      out,
      m,
      rowStart,
      rowCount,
      options.xStride ?? w.cols,
      options.outStride ?? rowCount,
      options.accumulate === true,
      0,
    );
  }

  /**
   * FP8 product with activations quantised on the way: tiles of 1 x 128, s = max(amax, 1e-4) / 448 (optionally rounded
   * up to a power of two), code = E4M3(x / s); per block of 128 columns out += (sum of code products * s) * weightScale.
   */
  linearW8A8(
    weight: Weight,
    x: Float32Array,
    out: Float32Array,
    m: number,
    options: W8A8Options = noOptions,
  ): void {
    const w = this.#packed(weight);
    if (w.format !== 'e4m3fn') {
      throw new KernelsError({
        code: 'kernels/bad-format',
        message: `expected an e4m3fn weight, got ${w.format}`,
        value: w.format,
        remedy: 'use linear() for other formats, or quantise the weight',
      });
    }
    this.#product(
      w,
      x,
      out,
      m,
      0,
      w.rows,
      options.xStride ?? w.cols,
      options.outStride ?? w.rows,
      false,
      options.scale === 'powerOfTwo' ? 2 : 1,
    );
  }

  #product(
    w: PackedWeight,
    x: Float32Array,
    out: Float32Array,
    m: number,
    rowStart: number,
    rowCount: number,
    xStride: number,
    outStride: number,
    accumulate: boolean,
    mode: number,
  ): void {
    needCount('m', m, 0);
    needStride('xStride', xStride, w.cols);
    needStride('outStride', outStride, rowCount);
    needLength('x', x, span(m, xStride, w.cols));
    needLength('out', out, span(m, outStride, rowCount));
    this.#countProduct(m, rowCount, w.cols);
    if (m === 0 || rowCount === 0) return;
    const staging = this.staging;
    staging.begin();
    const xAddress = staging.input(x);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.wasm.linearScratchBytes(m, w.cols, mode));
    const scales = w.scales === 0 ? 0 : w.scales + (rowStart >> 7) * w.scaleStrideBytes;
    this.wasm.linear(
      w.formatCode,
      w.layoutCode,
      w.address + rowStart * w.strideBytes,
      w.strideBytes,
      rowCount,
      w.cols,
      scales,
      w.scaleStrideBytes,
      rowStart & 127,
      xAddress,
      xStride * 4,
      m,
      outAddress,
      outStride * 4,
      accumulate ? 1 : 0,
      mode,
      scratch,
    );
    staging.end();
    if (w.nanCells !== undefined) spreadNan(w.nanCells, 0, rowStart, rowCount, out, m, outStride);
  }

  /** out[i, c] = sum_{r < rowCount} x[i, r] W[rowStart + r, c], with x `[m, rowCount]` and out `[m, cols]`; layout `rows`. */
  linearTransposed(
    weight: Weight,
    x: Float32Array,
    out: Float32Array,
    m: number,
    options: LinearOptions = noOptions,
  ): void {
    const w = this.#packed(weight);
    const rowStart = options.rowStart ?? 0;
    const rowCount = options.rowCount ?? w.rows - rowStart;
    const xStride = options.xStride ?? rowCount;
    const outStride = options.outStride ?? w.cols;
    if (w.layout !== 'rows') throw needsRows();
    this.#needRows(w, rowStart, rowCount, true);
    needCount('m', m, 0);
    needStride('xStride', xStride, rowCount);
    needStride('outStride', outStride, w.cols);
    needLength('x', x, span(m, xStride, rowCount));
    needLength('out', out, span(m, outStride, w.cols));
    this.#countProduct(m, rowCount, w.cols);
    if (m === 0) return;
    const staging = this.staging;
    staging.begin();
    const xAddress = staging.input(x);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.wasm.transposedScratchBytes(rowCount));
    const scales = w.scales === 0 ? 0 : w.scales + (rowStart >> 7) * w.scaleStrideBytes;
    this.wasm.linearTransposed(
      w.formatCode,
      w.address + rowStart * w.strideBytes,
      w.strideBytes,
      rowCount,
      w.cols,
      scales,
      w.scaleStrideBytes,
      rowStart & 127,
      xAddress,
      xStride * 4,
      m,
      outAddress,
      outStride * 4,
      options.accumulate === true ? 1 : 0,
      scratch,
    );
    staging.end();
    if (w.nanCells !== undefined) spreadNan(w.nanCells, 1, rowStart, rowCount, out, m, outStride);
  }

  /** out `[m, n]` = a `[m, k]` times b, which is `[n, k]`, or `[k, n]` with `transposeB: false`. */
  gemm(a: Float32Array, b: Float32Array, out: Float32Array, shape: GemmShape): void {
    const { m, n, k } = shape;
    const transposed = shape.transposeB ?? true;
    const lda = shape.lda ?? k;
    const ldb = shape.ldb ?? (transposed ? k : n);
    const ldc = shape.ldc ?? n;
    needCount('m', m, 0);
    needCount('n', n, 1);
    needCount('k', k, 1);
    needStride('lda', lda, k);
    needStride('ldb', ldb, transposed ? k : n);
    needStride('ldc', ldc, n);
    needLength('a', a, span(m, lda, k));
    needLength('b', b, transposed ? span(n, ldb, k) : span(k, ldb, n));
    needLength('out', out, span(m, ldc, n));
    this.#countProduct(m, n, k);
    if (m === 0) return;
    const staging = this.staging;
    staging.begin();
    const aAddress = staging.input(a);
    const bAddress = staging.input(b);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.wasm.linearScratchBytes(m, k, 0));
    this.wasm.linear(
      0,
      transposed ? 1 : COLUMNS,
      bAddress,
      ldb * 4,
      n,
      k,
      0,
      0,
      0,
      aAddress,
      lda * 4,
      m,
      outAddress,
      ldc * 4,
      shape.accumulate === true ? 1 : 0,
      0,
      scratch,
    );
    staging.end();
  }

  #countProduct(m: number, rows: number, cols: number): void {
    this.stats.calls++;
    this.stats.gemmRows += m;
    this.stats.gemmMacs += m * rows * cols;
  }

  #packed(weight: Weight): PackedWeight {
    if (!(weight instanceof PackedWeight) || weight.buffer !== this.arena.memory.buffer) {
      throw new KernelsError({
        code: 'kernels/foreign-weight',
        message: 'expected a weight that these kernels packed',
        value: `${weight.format} [${weight.rows}, ${weight.cols}]`,
        remedy: 'pack the weight with the Kernels of the same arena',
      });
    }
    return weight;
  }

  #needRows(w: PackedWeight, rowStart: number, rowCount: number, ranges: boolean): void {
    if (rowStart === 0 && rowCount === w.rows) return;
    if (!ranges) throw needsRows();
    needCount('rowStart', rowStart, 0);
    needCount('rowCount', rowCount, 0);
    if (rowStart + rowCount > w.rows) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected rowStart + rowCount of at most ${w.rows}, got ${rowStart + rowCount}`,
        value: rowStart + rowCount,
        remedy: 'pass a range within the weight',
      });
    }
  }
}

/** Rows (axis 0) or columns (axis 1) that a NaN code touches are NaN in every output row. */
function spreadNan(
  cells: Int32Array,
  axis: 0 | 1,
  rowStart: number,
  rowCount: number,
  out: Float32Array,
  m: number,
  outStride: number,
): void {
  for (let i = 0; i < cells.length; i += 2) {
    const row = cells[i]! - rowStart;
    if (row < 0 || row >= rowCount) continue;
    const at = axis === 0 ? row : cells[i + 1]!;
    for (let j = 0; j < m; j++) out[j * outStride + at] = Number.NaN;
  }
}

function needsRows(): KernelsError {
  return new KernelsError({
    code: 'kernels/needs-rows',
    message: 'row ranges and transposed products need a weight in layout rows, got panels',
    value: 'panels',
    remedy: "pack the weight with { layout: 'rows' }",
  });
}
