import { needCount, needLength, needStride, span } from './checks.js';
import { KernelsError } from './errors.js';
import { Kernels } from './kernels.js';

/** Options of {@link TrainingKernels.rmsNormBackward}. */
export interface RmsNormBackwardOptions {
  readonly epsilon: number;
  /** Elements between rows of x, default cols. */
  readonly xStride?: number;
  /** Elements between rows of dx, default cols. */
  readonly dxStride?: number;
  /** Add to `dx` instead of overwriting it. */
  readonly accumulate?: boolean;
}

/** Numbers of one AdamW step. */
export interface AdamWStep {
  /** Factor on gradients, for clipping. */
  readonly scale: number;
  readonly beta1: number;
  readonly beta2: number;
  /** 1 / (1 - beta1^t) and 1 / (1 - beta2^t). */
  readonly correction1: number;
  readonly correction2: number;
  readonly epsilon: number;
  readonly learningRate: number;
  /** 1 - learningRate * weightDecay. */
  readonly keep: number;
}

/**
 * {@link Kernels} and what training adds: backward passes, cross-entropy, AdamW. All operands of these are dense.
 *
 * @example
 * ```ts
 * import { Arena, TrainingKernels } from '@moestack/kernels';
 *
 * const kernels = new TrainingKernels(Arena.create({ maximumBytes: 1 << 20 }));
 * const logits = Float32Array.of(0, 0);
 * console.log(kernels.crossEntropy(logits, Int32Array.of(1), 1, 2, 1), logits); // ln 2; 0.5, -0.5
 * ```
 */
export class TrainingKernels extends Kernels {
  /** out `[cols, rows]` = x `[rows, cols]` transposed. */
  transpose(x: Float32Array, out: Float32Array, rows: number, cols: number, xStride: number = cols): void {
    needCount('rows', rows, 0);
    needCount('cols', cols, 0);
    needStride('xStride', xStride, cols);
    needLength('x', x, span(rows, xStride, cols));
    needLength('out', out, rows * cols);
    const staging = this.#begin();
    const from = staging.input(x);
    this.wasm.transposeRows(from, xStride * 4, rows, cols, staging.output(out));
    staging.end();
  }

  /** out[r] = dot(x[r], y[r]). */
  rowDots(x: Float32Array, y: Float32Array, out: Float32Array, rows: number, cols: number): void {
    this.#needMatrix('x', x, rows, cols);
    needLength('y', y, rows * cols);
    needLength('out', out, rows);
    const staging = this.#begin();
    const [a, b] = [staging.input(x), staging.input(y)];
    this.wasm.rowDots(a, b, staging.output(out), rows, cols);
    staging.end();
  }

  /** x[r] *= factors[r]. */
  scaleRows(x: Float32Array, factors: Float32Array, rows: number, cols: number): void {
    this.#needMatrix('x', x, rows, cols);
    needLength('factors', factors, rows);
    const staging = this.#begin();
    const f = staging.input(factors);
    this.wasm.scaleRows(staging.output(x), f, rows, cols);
    staging.end();
  }

  /** Gradient of softmax(scale * x), from its result p: written over the gradient of the result. */
  softmaxBackward(p: Float32Array, gradient: Float32Array, rows: number, cols: number, scale: number): void {
    this.#needMatrix('p', p, rows, cols);
    needLength('gradient', gradient, rows * cols);
    const staging = this.#begin();
    const from = staging.input(p);
    this.wasm.softmaxBackward(from, staging.output(gradient), rows, cols, scale);
    staging.end();
  }

  /** Gradients of {@link Kernels.rmsNorm}: dx set (or added to), dgain added to. */
  rmsNormBackward(
    x: Float32Array,
    gain: Float32Array,
    dy: Float32Array,
    dx: Float32Array,
    dgain: Float32Array,
    rows: number,
    cols: number,
    options: RmsNormBackwardOptions,
  ): void {
    const xStride = options.xStride ?? cols;
    const dxStride = options.dxStride ?? cols;
    this.#needMatrix('dy', dy, rows, cols);
    needStride('xStride', xStride, cols);
    needStride('dxStride', dxStride, cols);
    needLength('x', x, span(rows, xStride, cols));
    needLength('dx', dx, span(rows, dxStride, cols));
    needLength('gain', gain, cols);
    needLength('dgain', dgain, cols);
    const staging = this.#begin();
    const [a, b, c] = [staging.input(x), staging.input(gain), staging.input(dy)];
    const [d, e] = [staging.output(dx), staging.output(dgain)];
    const accumulate = options.accumulate === true ? 1 : 0;
    this.wasm.rmsNormBackward(
      a,
      xStride * 4,
      b,
      c,
      d,
      dxStride * 4,
      e,
      rows,
      cols,
      options.epsilon,
      accumulate,
    );
    staging.end();
  }

  /** Gradients of silu(gate) * up, written over gate and up. */
  siluMulBackward(gate: Float32Array, up: Float32Array, gradient: Float32Array, n: number): void {
    needCount('n', n, 0);
    needLength('gate', gate, n);
    needLength('up', up, n);
    needLength('gradient', gradient, n);
    const staging = this.#begin();
    const d = staging.input(gradient);
    const [g, u] = [staging.output(gate), staging.output(up)];
    this.wasm.siluMulBackward(g, u, d, n);
    staging.end();
  }

  /**
   * Sum over rows of -log softmax(x)[target]; x becomes scale * (softmax(x) - onehot(target)), its gradient for scale = 1.
   *
   * @param x - logits `[rows, cols]`
   * @param targets - `[rows]`, each below cols
   */
  crossEntropy(x: Float32Array, targets: Int32Array, rows: number, cols: number, scale: number): number {
    this.#needMatrix('x', x, rows, cols);
    needCount('cols', cols, 1);
    needLength('targets', targets, rows);
    for (let r = 0; r < rows; r++)
      if (!(targets[r]! >= 0 && targets[r]! < cols)) throw badTarget(targets[r]!, cols);
    const staging = this.#begin();
    const t = staging.input(targets);
    const at = staging.reserve(rows * 8 + 16);
    this.wasm.crossEntropy(staging.output(x), t, rows, cols, scale, at);
    const sums = new Float32Array(this.arena.memory.buffer, at, rows * 2);
    let loss = 0;
    for (let r = 0; r < rows; r++) loss += Math.log(sums[2 * r]!) + sums[2 * r + 1]!;
    staging.end();
    return loss;
  }

  /** Sum of squares in float64. */
  sumSquares(x: Float32Array, n: number): number {
    needCount('n', n, 0);
    needLength('x', x, n);
    return this.wasm.sumSquares64(this.#begin().input(x), n);
  }

  /**
   * One AdamW step (arXiv 1711.05101) on n weights, n a multiple of 4; the moments are bfloat16 codes.
   * w = w * keep - learningRate * (m * correction1) / (sqrt(v * correction2) + epsilon), all in float32.
   */
  adamW(w: Float32Array, g: Float32Array, m: Uint16Array, v: Uint16Array, n: number, step: AdamWStep): void {
    needCount('n / 4', n / 4, 0);
    needLength('w', w, n);
    needLength('g', g, n);
    needLength('m', m, n);
    needLength('v', v, n);
    const staging = this.#begin();
    const gradient = staging.input(g);
    const weight = staging.output(w);
    const first = staging.output(bytesOf(m));
    this.wasm.adamW(
      weight,
      gradient,
      first,
      staging.output(bytesOf(v)),
      n,
      step.scale,
      step.beta1,
      step.beta2,
      step.correction1,
      step.correction2,
      step.epsilon,
      step.learningRate,
      step.keep,
    );
    staging.end();
  }

  /** Rounds to bfloat16 codes, ties to even. */
  packBf16(x: Float32Array, out: Uint16Array, n: number): void {
    needCount('n', n, 0);
    needLength('x', x, n);
    needLength('out', out, n);
    const staging = this.#begin();
    const from = staging.input(x);
    this.wasm.packBf16(from, staging.output(bytesOf(out)), n);
    staging.end();
  }

  /** Values of bfloat16 codes. */
  unpackBf16(x: Uint16Array, out: Float32Array, n: number): void {
    needCount('n', n, 0);
    needLength('x', x, n);
    needLength('out', out, n);
    const staging = this.#begin();
    const from = staging.input(bytesOf(x));
    this.wasm.unpackBf16(from, staging.output(out), n);
    staging.end();
  }

  #begin(): typeof this.staging {
    this.stats.calls++;
    this.staging.begin();
    return this.staging;
  }

  #needMatrix(name: string, x: Float32Array, rows: number, cols: number): void {
    needCount('rows', rows, 0);
    needCount('cols', cols, 0);
    needLength(name, x, rows * cols);
  }
}

function bytesOf(view: Uint16Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function badTarget(target: number, cols: number): KernelsError {
  return new KernelsError({
    code: 'kernels/bad-size',
    message: `expected targets from 0 to ${cols - 1}, got ${target}`,
    value: target,
    remedy: 'pass token ids below the vocabulary size',
  });
}
