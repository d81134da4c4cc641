import { type ProductOptions, product } from './product.js';
import { quantizedOperand } from './product-operand.js';
import { invalid, type QuantizedTensor } from './scheme.js';

/** Options of {@link matmul}. */
export interface MatmulOptions extends ProductOptions {
  /** Receives float32 `[M, N]`. */
  readonly out?: Float32Array;
}

/**
 * Product of quantised matrices with block scales: a `[M, K]` times b `[N, K]` transposed, to float32 `[M, N]`.
 *
 * MX operands on Blackwell use the instructions that apply E8M0 scales inside the tensor core. All but `f64` run on SIMD
 * kernels, with the bits of the scalar order: in `f32`, an element's products one after the other.
 *
 * @throws {@link Fp8Error} when shapes differ in K, or the accumulation does not fit formats and scales.
 *
 * @example
 * ```ts
 * import { matmul, quantize } from '@moestack/fp8';
 *
 * const x = quantize(new Float32Array(2 * 256).fill(0.5), [2, 256], { kind: 'tile', tile: [1, 128] });
 * const w = quantize(new Float32Array(3 * 256).fill(2), [3, 256], { kind: 'tile', tile: [128, 128] });
 * console.log(matmul(x, w, { accumulate: 'hopper', promoteEvery: 128 })); // six times 256
 * ```
 */
export function matmul(a: QuantizedTensor, b: QuantizedTensor, options: MatmulOptions = {}): Float32Array {
  const [left, right] = [quantizedOperand(a, 'a'), quantizedOperand(b, 'b')];
  const length = left.rows * right.rows;
  const { out = new Float32Array(length) } = options;
  if (!(out instanceof Float32Array) || out.length !== length) {
    throw invalid('bad-out', `out as ${length} float32 values`, out?.length, 'pass an out array of [M, N]');
  }
  return product(left, right, options, out);
}
