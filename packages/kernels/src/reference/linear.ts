import type { GemmShape, LinearOptions, W8A8Options, WeightData } from '../types.js';
import { decodeE4m3, weightCode, weightScale } from './formats.js';
import { quantizeActivations } from './quantize.js';

const f = Math.fround;

/**
 * out[i, r] = sum_c x[i, c] W[rowStart + r, c].
 *
 * Order of operations, the same for every m and every layout: within each block of 128 columns the products are
 * added one after the other in float32, starting from zero; then total = total + blockSum * scale, block by block.
 */
export function linear(
  weight: WeightData,
  x: Float32Array,
  out: Float32Array,
  m: number,
  options: LinearOptions = {},
): void {
  const { cols } = weight;
  const rowStart = options.rowStart ?? 0;
  const rowCount = options.rowCount ?? weight.rows - rowStart;
  const xStride = options.xStride ?? cols;
  const outStride = options.outStride ?? rowCount;
  const codes = new Float32Array(cols);
  for (let r = 0; r < rowCount; r++) {
    const row = rowStart + r;
    for (let c = 0; c < cols; c++) codes[c] = weightCode(weight, row * cols + c);
    for (let i = 0; i < m; i++) {
      let total = options.accumulate ? out[i * outStride + r]! : 0;
      for (let start = 0; start < cols; start += 128) {
        const end = Math.min(cols, start + 128);
        let sum = 0;
        for (let c = start; c < end; c++) sum = f(sum + f(x[i * xStride + c]! * codes[c]!));
        total = f(total + f(sum * weightScale(weight, row, start)));
      }
      out[i * outStride + r] = total;
    }
  }
}

/**
 * out[i, c] = sum_{r < rowCount} x[i, r] W[rowStart + r, c].
 *
 * Order: one row after the other; each element is code * (x * scale), in float32.
 */
export function linearTransposed(
  weight: WeightData,
  x: Float32Array,
  out: Float32Array,
  m: number,
  options: LinearOptions = {},
): void {
  const { cols } = weight;
  const rowStart = options.rowStart ?? 0;
  const rowCount = options.rowCount ?? weight.rows - rowStart;
  const xStride = options.xStride ?? rowCount;
  const outStride = options.outStride ?? cols;
  for (let i = 0; i < m; i++) {
    for (let c = 0; c < cols; c++) {
      let total = options.accumulate ? out[i * outStride + c]! : 0;
      for (let r = 0; r < rowCount; r++) {
        const row = rowStart + r;
        const scaled = f(x[i * xStride + r]! * weightScale(weight, row, c));
        total = f(total + f(scaled * weightCode(weight, row * cols + c)));
      }
      out[i * outStride + c] = total;
    }
  }
}

/**
 * FP8 x FP8 product: activations quantised in tiles of 1 x 128, then per block of 128 columns the products of code
 * values are added one after the other in float32, and total = total + blockSum * activationScale * weightScale.
 */
export function linearW8A8(
  weight: WeightData,
  x: Float32Array,
  out: Float32Array,
  m: number,
  options: W8A8Options = {},
): void {
  const { rows, cols } = weight;
  const outStride = options.outStride ?? rows;
  const blocks = Math.ceil(cols / 128);
  const codes = new Uint8Array(m * cols);
  const scales = new Float32Array(m * blocks);
  quantizeActivations(x, codes, scales, m, cols, options);
  const row = new Float32Array(cols);
  for (let i = 0; i < m; i++) {
    for (let c = 0; c < cols; c++) row[c] = decodeE4m3(codes[i * cols + c]!);
    for (let r = 0; r < rows; r++) {
      let total = 0;
      for (let b = 0; b < blocks; b++) {
        const end = Math.min(cols, b * 128 + 128);
        let sum = 0;
        for (let c = b * 128; c < end; c++) sum = f(sum + f(row[c]! * weightCode(weight, r * cols + c)));
        total = f(total + f(f(sum * scales[i * blocks + b]!) * weightScale(weight, r, b * 128)));
      }
      out[i * outStride + r] = total;
    }
  }
}

/** out `[m, n]` = a `[m, k]` times b (`[n, k]` or `[k, n]`), in the order of {@link linear}. */
export function gemm(a: Float32Array, b: Float32Array, out: Float32Array, shape: GemmShape): void {
  const { m, n, k } = shape;
  const transposed = shape.transposeB ?? true;
  const lda = shape.lda ?? k;
  const ldb = shape.ldb ?? (transposed ? k : n);
  const ldc = shape.ldc ?? n;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let total = shape.accumulate ? out[i * ldc + j]! : 0;
      for (let start = 0; start < k; start += 128) {
        const end = Math.min(k, start + 128);
        let sum = 0;
        for (let c = start; c < end; c++) {
          sum = f(sum + f(a[i * lda + c]! * b[transposed ? j * ldb + c : c * ldb + j]!));
        }
        total = f(total + sum);
      }
      out[i * ldc + j] = total;
    }
  }
}
