import { needCount, needLength, needStride, span } from './checks.js';
import { KernelsError } from './errors.js';
import { KernelsBase } from './kernels-base.js';
import type { QuantizeOptions, RmsNormOptions, RopeShape, SoftmaxOptions } from './types.js';

const noOptions: QuantizeOptions & SoftmaxOptions = {};

/** Kernels over rows and elements. */
export abstract class ElementwiseKernels extends KernelsBase {
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
    const staging = this.staging;
    staging.begin();
    const xAddress = staging.input(x);
    const gainAddress = staging.input(gain);
    this.wasm.rmsNorm(
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
    const staging = this.staging;
    staging.begin();
    const table = staging.input(cosSin);
    const positionAddress = staging.input(positions);
    this.wasm.rope(
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
    const staging = this.staging;
    staging.begin();
    const lengths = options.lengths === undefined ? 0 : staging.input(options.lengths);
    this.wasm.softmax(staging.output(x), stride * 4, rows, cols, options.scale ?? 1, lengths);
    staging.end();
  }

  /** out = 1 / (1 + e^-x). */
  sigmoid(x: Float32Array, out: Float32Array, n: number): void {
    this.elements(x, x, out, n);
    this.wasm.sigmoid(this.staging.input(x), this.staging.output(out), n);
    this.staging.end();
  }

  /** out = x / (1 + e^-x). */
  silu(x: Float32Array, out: Float32Array, n: number): void {
    this.elements(x, x, out, n);
    this.wasm.silu(this.staging.input(x), this.staging.output(out), n);
    this.staging.end();
  }

  /** out = silu(gate) * up; out may be gate or up. */
  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array, n: number): void {
    this.elements(gate, up, out, n);
    const gateAddress = this.staging.input(gate);
    this.wasm.siluMul(gateAddress, this.staging.input(up), this.staging.output(out), n);
    this.staging.end();
  }

  /** out = x + y. */
  add(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void {
    this.elements(x, y, out, n);
    const xAddress = this.staging.input(x);
    this.wasm.add(xAddress, this.staging.input(y), this.staging.output(out), n);
    this.staging.end();
  }

  /** out += scale * x. */
  addScaled(x: Float32Array, scale: number, out: Float32Array, n: number): void {
    this.elements(x, x, out, n);
    this.wasm.addScaled(this.staging.input(x), scale, this.staging.output(out), n);
    this.staging.end();
  }

  /** Rounds to bfloat16 precision, ties to even; out may be x. */
  toBf16(x: Float32Array, out: Float32Array, n: number): void {
    this.elements(x, x, out, n);
    this.wasm.toBf16(this.staging.input(x), this.staging.output(out), n);
    this.staging.end();
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
    const staging = this.staging;
    staging.begin();
    const xAddress = staging.input(x);
    this.wasm.quantizeActivations(
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

  private elements(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void {
    needCount('n', n, 0);
    needLength('x', x, n);
    needLength('y', y, n);
    needLength('out', out, n);
    this.stats.calls++;
    this.staging.begin();
  }
}

function badPosition(position: number, limit: number): KernelsError {
  return new KernelsError({
    code: 'kernels/bad-position',
    message: `expected positions from 0 to ${limit - 1}, got ${position}`,
    value: position,
    remedy: 'pass a longer cosSin table, or shorter sequences',
  });
}
