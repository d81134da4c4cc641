import type { Kernels, LinearOptions, Weight } from '@moestack/kernels';
import type { Precision, W8A8Scale } from './precision.js';
import type { WeightPiece } from './weights.js';

/** Where a projection stands; the reference code treats the scales of their inputs differently under W8A8. */
export type ProjectionKind =
  | 'queryDown'
  | 'latent'
  | 'query'
  | 'output'
  | 'dense'
  | 'shared'
  | 'expert'
  | 'head';

const POWER_OF_TWO_IN_REFERENCE: ReadonlySet<ProjectionKind> = new Set(['queryDown', 'latent', 'expert']);

/**
 * The linear layers of a model in one precision. It alone knows how a product is computed and what its result is
 * rounded to; the layers above only say which product they need.
 */
export class Projector {
  readonly kernels: Kernels;
  /** Whether results are rounded to bfloat16. */
  readonly roundsToBf16: boolean;
  private readonly quantizesActivations: boolean;
  private readonly scale: W8A8Scale;
  private readonly accumulateOptions: LinearOptions = { accumulate: true };
  /** Where pieces begin in the buffers that they read or write. */
  private readonly offsets: WeakMap<Float32Array, Map<number, Float32Array>> = new WeakMap();
  private readonly stride: { xStride?: number; outStride?: number; accumulate: boolean } = {
    accumulate: false,
  };
  private readonly plainScale = { scale: 'f32' } as const;
  private readonly powerOfTwoScale = { scale: 'powerOfTwo' } as const;

  constructor(kernels: Kernels, precision: Precision, scale: W8A8Scale) {
    this.kernels = kernels;
    this.roundsToBf16 = precision === 'bf16';
    this.quantizesActivations = precision === 'w8a8';
    this.scale = scale;
  }

  /** `out[i] = W x[i]` for `rows` contiguous rows. */
  project(kind: ProjectionKind, weight: Weight, x: Float32Array, out: Float32Array, rows: number): void {
    if (this.quantizesActivations && weight.format === 'e4m3fn') {
      this.kernels.linearW8A8(
        weight,
        x,
        out,
        rows,
        this.powerOfTwo(kind) ? this.powerOfTwoScale : this.plainScale,
      );
    } else {
      this.kernels.linear(weight, x, out, rows);
    }
    this.round(out, rows * weight.rows);
  }

  /** {@link Projector.project} with a matrix that may be in pieces by rows, of `width` outputs together. */
  projectPieces(
    kind: ProjectionKind,
    pieces: readonly WeightPiece[],
    x: Float32Array,
    out: Float32Array,
    rows: number,
    width: number,
  ): void {
    if (pieces.length === 1) {
      this.project(kind, pieces[0]!.weight, x, out, rows);
      return;
    }
    for (const { weight, offset } of pieces) {
      this.multiply(kind, weight, x, this.from(out, offset), rows, weight.cols, width, false);
    }
    this.round(out, rows * width);
  }

  /** The part of `W x` that comes from the columns of this rank, not rounded: the sum over ranks is. */
  projectPartial(
    kind: ProjectionKind,
    pieces: readonly WeightPiece[],
    x: Float32Array,
    out: Float32Array,
    rows: number,
    width: number,
  ): void {
    for (const [i, { weight, offset }] of pieces.entries()) {
      this.multiply(kind, weight, this.from(x, offset), out, rows, width, weight.rows, i > 0);
    }
  }

  /** `residual[i] += W x[i]` for `rows` contiguous rows; `scratch` holds the product where it cannot be fused. */
  addProjected(
    kind: ProjectionKind,
    weight: Weight,
    x: Float32Array,
    residual: Float32Array,
    rows: number,
    scratch: Float32Array,
  ): void {
    if (!this.roundsToBf16 && !this.quantizesActivations) {
      this.kernels.linear(weight, x, residual, rows, this.accumulateOptions);
      return;
    }
    this.project(kind, weight, x, scratch, rows);
    this.kernels.add(residual, scratch, residual, rows * weight.rows);
    this.round(residual, rows * weight.rows);
  }

  /** Rounds `length` values in place where the precision asks for it. */
  round(values: Float32Array, length: number): void {
    if (this.roundsToBf16) this.kernels.toBf16(values, values, length);
  }

  private multiply(
    kind: ProjectionKind,
    weight: Weight,
    x: Float32Array,
    out: Float32Array,
    rows: number,
    xStride: number,
    outStride: number,
    accumulate: boolean,
  ): void {
    if (this.quantizesActivations && weight.format === 'e4m3fn') {
      const { scale } = this.powerOfTwo(kind) ? this.powerOfTwoScale : this.plainScale;
      this.kernels.linearW8A8(weight, x, out, rows, { scale, xStride, outStride });
      return;
    }
    const { stride } = this;
    stride.xStride = xStride;
    stride.outStride = outStride;
    stride.accumulate = accumulate;
    this.kernels.linear(weight, x, out, rows, stride);
  }

  private from(matrix: Float32Array, offset: number): Float32Array {
    if (offset === 0) return matrix;
    let views = this.offsets.get(matrix);
    if (views === undefined) {
      views = new Map();
      this.offsets.set(matrix, views);
    }
    let view = views.get(offset);
    if (view === undefined) {
      view = matrix.subarray(offset);
      views.set(offset, view);
    }
    return view;
  }

  private powerOfTwo(kind: ProjectionKind): boolean {
    if (this.scale === 'everywhere') return true;
    return this.scale === 'reference' && POWER_OF_TWO_IN_REFERENCE.has(kind);
  }
}
