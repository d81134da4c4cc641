import type { Arena } from './arena.js';
import { instantiate, type KernelExports } from './binary.js';
import { needCount, needLength, needStride, span } from './checks.js';
import { KernelsError } from './errors.js';
import { pack } from './pack.js';
import { Staging } from './staging.js';
import type {
  CausalAttentionShape,
  GemmShape,
  KernelStats,
  KernelsOptions,
  LatentAttentionShape,
  LinearOptions,
  PackOptions,
  QuantizeOptions,
  RmsNormOptions,
  RopeShape,
  SoftmaxOptions,
  W8A8Options,
  WeightData,
} from './types.js';
import { PackedWeight, type Weight } from './weight.js';

const noOptions: LinearOptions & W8A8Options & QuantizeOptions & SoftmaxOptions & PackOptions = {};

/** Layout of {@link KernelExports.linear} for `[k, n]` matrices. */
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
export class Kernels {
  readonly arena: Arena;
  readonly stats: KernelStats = { calls: 0, gemmRows: 0, gemmMacs: 0 };
  readonly #wasm: KernelExports;
  readonly #staging: Staging;

  /** Instantiates the inlined binary against the arena's memory, synchronously. */
  constructor(arena: Arena, options: KernelsOptions = {}) {
    if (options.scratch !== undefined) arena.handle(options.scratch);
    this.arena = arena;
    this.#wasm = instantiate(arena.memory, arena.shared);
    this.#staging = new Staging(arena, options.scratch);
  }

  /** Copies a weight into the arena, in the order that its products need. */
  pack(weight: WeightData, options: PackOptions = noOptions): Weight {
    return pack(weight, options, this.arena, this.#staging, this.#wasm);
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
    const staging = this.#staging;
    staging.begin();
    const xAddress = staging.input(x);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.#wasm.linearScratchBytes(m, w.cols, mode));
    const scales = w.scales === 0 ? 0 : w.scales + (rowStart >> 7) * w.scaleStrideBytes;
    this.#wasm.linear(
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
    const staging = this.#staging;
    staging.begin();
    const xAddress = staging.input(x);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.#wasm.transposedScratchBytes(rowCount));
    const scales = w.scales === 0 ? 0 : w.scales + (rowStart >> 7) * w.scaleStrideBytes;
    this.#wasm.linearTransposed(
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

  /**
   * Quantises activations in tiles of 1 x 128 as {@link Kernels.linearW8A8} does.
   *
   * @param x - `[m, k]`
   * @param codes - E4M3 codes `[m, k]`
   * @param scales - `[m, ceil(k / 128)]`
   */
  quantizeActivations(
    x: Float32Array,
    codes: Uint8Array,
    scales: Float32Array,
    m: number,
    k: number,
    options: QuantizeOptions = noOptions,
  ): void {
    const xStride = options.xStride ?? k;
    needCount('m', m, 0);
    needCount('k', k, 1);
    needStride('xStride', xStride, k);
    needLength('x', x, span(m, xStride, k));
    needLength('codes', codes, m * k);
    needLength('scales', scales, m * Math.ceil(k / 128));
    this.stats.calls++;
    const staging = this.#staging;
    staging.begin();
    const xAddress = staging.input(x);
    this.#wasm.quantizeActivations(
      xAddress,
      xStride * 4,
      staging.output(codes),
      staging.output(scales),
      m,
      k,
      options.scale === 'powerOfTwo' ? 1 : 0,
    );
    staging.end();
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
    const staging = this.#staging;
    staging.begin();
    const aAddress = staging.input(a);
    const bAddress = staging.input(b);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.#wasm.linearScratchBytes(m, k, 0));
    this.#wasm.linear(
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

  /** y = x / sqrt(mean(x^2) + epsilon) * gain per row; x and out may be the same. */
  rmsNorm(
    x: Float32Array,
    gain: Float32Array,
    out: Float32Array,
    rows: number,
    cols: number,
    options: RmsNormOptions,
  ): void {
    const xStride = options.xStride ?? cols;
    const outStride = options.outStride ?? cols;
    needCount('rows', rows, 0);
    needCount('cols', cols, 1);
    needStride('xStride', xStride, cols);
    needStride('outStride', outStride, cols);
    needLength('x', x, span(rows, xStride, cols));
    needLength('gain', gain, cols);
    needLength('out', out, span(rows, outStride, cols));
    this.stats.calls++;
    const staging = this.#staging;
    staging.begin();
    const xAddress = staging.input(x);
    const gainAddress = staging.input(gain);
    this.#wasm.rmsNorm(
      xAddress,
      xStride * 4,
      gainAddress,
      staging.output(out),
      outStride * 4,
      rows,
      cols,
      options.epsilon,
    );
    staging.end();
  }

  /**
   * Rotary position embedding on interleaved pairs, in place: (a, b) -> (a cos - b sin, a sin + b cos).
   *
   * @param cosSin - `[maxPositions, dims]`, pairs (cos, sin)
   * @param positions - `[rows]`, each a row of `cosSin`
   */
  rope(x: Float32Array, cosSin: Float32Array, positions: Int32Array, shape: RopeShape): void {
    const { rows, heads, dims, rowStride, headStride, offset } = shape;
    needCount('rows', rows, 0);
    needCount('heads', heads, 1);
    needCount('offset', offset, 0);
    if (!Number.isInteger(dims / 2) || dims < 2) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected an even number for dims, got ${dims}`,
        value: dims,
        remedy: 'rotary dimensions come in pairs',
      });
    }
    needStride('headStride', headStride, 0);
    needStride('rowStride', rowStride, 0);
    needLength('x', x, rows === 0 ? 0 : offset + (rows - 1) * rowStride + (heads - 1) * headStride + dims);
    needLength('positions', positions, rows);
    const limit = Math.floor(cosSin.length / dims);
    for (let i = 0; i < rows; i++) {
      if (!(positions[i]! >= 0 && positions[i]! < limit)) throw badPosition(positions[i]!, limit);
    }
    this.stats.calls++;
    const staging = this.#staging;
    staging.begin();
    const table = staging.input(cosSin);
    const positionAddress = staging.input(positions);
    this.#wasm.rope(
      staging.output(x) + offset * 4,
      table,
      positionAddress,
      rows,
      heads,
      dims,
      rowStride * 4,
      headStride * 4,
    );
    staging.end();
  }

  /** Softmax of scale * x per row, in place; a row of -Infinity only becomes zero. Exponentials within 2 units in the last place. */
  softmax(x: Float32Array, rows: number, cols: number, options: SoftmaxOptions = noOptions): void {
    const stride = options.stride ?? cols;
    needCount('rows', rows, 0);
    needCount('cols', cols, 1);
    needStride('stride', stride, cols);
    needLength('x', x, span(rows, stride, cols));
    if (options.lengths !== undefined) needLength('lengths', options.lengths, rows);
    this.stats.calls++;
    const staging = this.#staging;
    staging.begin();
    const lengths = options.lengths === undefined ? 0 : staging.input(options.lengths);
    this.#wasm.softmax(staging.output(x), stride * 4, rows, cols, options.scale ?? 1, lengths);
    staging.end();
  }

  /** out = 1 / (1 + e^-x). */
  sigmoid(x: Float32Array, out: Float32Array, n: number): void {
    this.#elements(x, x, out, n);
    this.#wasm.sigmoid(this.#staging.input(x), this.#staging.output(out), n);
    this.#staging.end();
  }

  /** out = x / (1 + e^-x). */
  silu(x: Float32Array, out: Float32Array, n: number): void {
    this.#elements(x, x, out, n);
    this.#wasm.silu(this.#staging.input(x), this.#staging.output(out), n);
    this.#staging.end();
  }

  /** out = silu(gate) * up; out may be gate or up. */
  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array, n: number): void {
    this.#elements(gate, up, out, n);
    const gateAddress = this.#staging.input(gate);
    this.#wasm.siluMul(gateAddress, this.#staging.input(up), this.#staging.output(out), n);
    this.#staging.end();
  }

  /** out = x + y. */
  add(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void {
    this.#elements(x, y, out, n);
    const xAddress = this.#staging.input(x);
    this.#wasm.add(xAddress, this.#staging.input(y), this.#staging.output(out), n);
    this.#staging.end();
  }

  /** out += scale * x. */
  addScaled(x: Float32Array, scale: number, out: Float32Array, n: number): void {
    this.#elements(x, x, out, n);
    this.#wasm.addScaled(this.#staging.input(x), scale, this.#staging.output(out), n);
    this.#staging.end();
  }

  /** Rounds to bfloat16 precision, ties to even; out may be x. */
  toBf16(x: Float32Array, out: Float32Array, n: number): void {
    this.#elements(x, x, out, n);
    this.#wasm.toBf16(this.#staging.input(x), this.#staging.output(out), n);
    this.#staging.end();
  }

  /**
   * Absorbed multi-head latent attention of one token over a paged cache of one layer (DeepSeek-V2, section 2.1):
   * out[h] = sum_t softmax_t(scale * q[h] . cache[t]) * cache[t][0 .. rank).
   *
   * @param q - `[heads, rank + ropeDims]`, absorbed and rotated
   * @param cache - `[blocks, blockSize, rank + ropeDims]`
   * @param blockTable - physical block of each blockSize tokens
   * @param out - `[heads, rank]`
   */
  latentAttention(
    q: Float32Array,
    cache: Float32Array,
    blockTable: Int32Array,
    out: Float32Array,
    shape: LatentAttentionShape,
  ): void {
    const { heads, rank, ropeDims, contextLength, blockSize } = shape;
    const qOffset = shape.qOffset ?? 0;
    const outOffset = shape.outOffset ?? 0;
    const tableOffset = shape.blockTableOffset ?? 0;
    needCount('heads', heads, 1);
    needCount('rank', rank, 1);
    needCount('ropeDims', ropeDims, 0);
    needCount('contextLength', contextLength, 1);
    needCount('blockSize', blockSize, 1);
    const width = rank + ropeDims;
    const used = Math.ceil(contextLength / blockSize);
    needLength('q', q, qOffset + heads * width);
    needLength('out', out, outOffset + heads * rank);
    needLength('blockTable', blockTable, tableOffset + used);
    const blocks = Math.floor(cache.length / (blockSize * width));
    for (let i = 0; i < used; i++) {
      const block = blockTable[tableOffset + i]!;
      if (!(block >= 0 && block < blocks)) throw badBlock(block, blocks);
    }
    this.stats.calls++;
    const staging = this.#staging;
    staging.begin();
    const qAddress = staging.input(q) + qOffset * 4;
    const cacheAddress = staging.input(cache);
    const table = staging.input(blockTable) + tableOffset * 4;
    const outAddress = staging.output(out) + outOffset * 4;
    const scratch = staging.reserve(this.#wasm.latentScratchBytes(rank, ropeDims, contextLength));
    this.#wasm.latentAttention(
      qAddress,
      cacheAddress,
      table,
      outAddress,
      heads,
      rank,
      ropeDims,
      contextLength,
      blockSize,
      shape.scale,
      scratch,
    );
    staging.end();
  }

  /**
   * Causal attention of one sequence over expanded keys and values: query i attends to keys 0 .. start + i.
   *
   * @param q - `[m, heads, qkDims]`
   * @param k - `[t, heads, qkDims]`
   * @param v - `[t, heads, vDims]`
   * @param out - `[m, heads, vDims]`
   */
  causalAttention(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
    shape: CausalAttentionShape,
  ): void {
    const { m, t, heads, qkDims, vDims, start } = shape;
    const qHead = shape.qHeadStride ?? qkDims;
    const kHead = shape.kHeadStride ?? qkDims;
    const vHead = shape.vHeadStride ?? vDims;
    const outHead = shape.outHeadStride ?? vDims;
    const qStride = shape.qStride ?? heads * qHead;
    const kStride = shape.kStride ?? heads * kHead;
    const vStride = shape.vStride ?? heads * vHead;
    const outStride = shape.outStride ?? heads * outHead;
    needCount('m', m, 0);
    needCount('heads', heads, 1);
    needCount('qkDims', qkDims, 1);
    needCount('vDims', vDims, 1);
    needCount('start', start, 0);
    needCount('t', t, start + m);
    needStride('qHeadStride', qHead, 0);
    needStride('kHeadStride', kHead, 0);
    needStride('vHeadStride', vHead, 0);
    needStride('outHeadStride', outHead, vDims);
    needStride('qStride', qStride, 0);
    needStride('kStride', kStride, 0);
    needStride('vStride', vStride, 0);
    needStride('outStride', outStride, vDims);
    needLength('q', q, span(m, qStride, (heads - 1) * qHead + qkDims));
    needLength('k', k, span(start + m, kStride, (heads - 1) * kHead + qkDims));
    needLength('v', v, span(start + m, vStride, (heads - 1) * vHead + vDims));
    needLength('out', out, span(m, outStride, (heads - 1) * outHead + vDims));
    this.stats.calls++;
    if (m === 0) return;
    const staging = this.#staging;
    staging.begin();
    const qAddress = staging.input(q);
    const kAddress = staging.input(k);
    const vAddress = staging.input(v);
    const outAddress = staging.output(out);
    const scratch = staging.reserve(this.#wasm.causalScratchBytes(qkDims, vDims, start + m));
    this.#wasm.causalAttention(
      qAddress,
      kAddress,
      vAddress,
      outAddress,
      m,
      heads,
      qkDims,
      vDims,
      start,
      shape.scale,
      qStride * 4,
      kStride * 4,
      vStride * 4,
      outStride * 4,
      qHead * 4,
      kHead * 4,
      vHead * 4,
      outHead * 4,
      scratch,
    );
    staging.end();
  }

  #elements(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void {
    needCount('n', n, 0);
    needLength('x', x, n);
    needLength('y', y, n);
    needLength('out', out, n);
    this.stats.calls++;
    this.#staging.begin();
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

function badPosition(position: number, limit: number): KernelsError {
  return new KernelsError({
    code: 'kernels/bad-position',
    message: `expected positions from 0 to ${limit - 1}, got ${position}`,
    value: position,
    remedy: 'pass a longer cosSin table, or shorter sequences',
  });
}

function badBlock(block: number, blocks: number): KernelsError {
  return new KernelsError({
    code: 'kernels/bad-block',
    message: `expected block ids from 0 to ${blocks - 1}, got ${block}`,
    value: block,
    remedy: 'pass the block table of this cache',
  });
}
