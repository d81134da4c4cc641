import type { Runtime } from '../runtime.js';

/** Root-mean-square norm with a gain; its input is kept by the caller. */
export class RmsNorm {
  readonly #runtime: Runtime;
  readonly #gain: Float32Array;
  readonly #gradient: Float32Array;
  readonly #cols: number;
  readonly #forwardOptions: { epsilon: number; xStride: number };
  readonly #backwardOptions: { epsilon: number; xStride: number; dxStride: number; accumulate: boolean };

  /** @param stride - elements between rows of x and dx. Default: the norm's width. */
  constructor(runtime: Runtime, name: string, options: { stride?: number; accumulate: boolean }) {
    const { cols, weight, gradient } = runtime.parameter(name);
    const { epsilon } = runtime.config.model;
    const { stride = cols, accumulate } = options;
    this.#runtime = runtime;
    this.#gain = weight;
    this.#gradient = gradient;
    this.#cols = cols;
    this.#forwardOptions = { epsilon, xStride: stride };
    this.#backwardOptions = { epsilon, xStride: stride, dxStride: stride, accumulate };
  }

  /** out `[rows, cols]`, dense. */
  forward(x: Float32Array, out: Float32Array, rows: number): void {
    this.#runtime.kernels.rmsNorm(x, this.#gain, out, rows, this.#cols, this.#forwardOptions);
  }

  /** Sets or adds to dx, as constructed. */
  backward(x: Float32Array, dy: Float32Array, dx: Float32Array, rows: number): void {
    this.#runtime.kernels.rmsNormBackward(
      x,
      this.#gain,
      dy,
      dx,
      this.#gradient,
      rows,
      this.#cols,
      this.#backwardOptions,
    );
  }
}
