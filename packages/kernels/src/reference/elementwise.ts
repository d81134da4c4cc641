import type { RmsNormOptions, RopeShape, SoftmaxOptions } from '../types.js';
import { roundBf16 } from './formats.js';

const f = Math.fround;

/**
 * y = x / sqrt(mean(x^2) + epsilon) * gain.
 *
 * Order: 16 partial sums of squares (element c goes to partial sum c mod 16), folded 16 -> 8 -> 4 -> 2 -> 1 by adding
 * the upper half to the lower; factor = 1 / sqrt(sum / cols + epsilon); y = (x * factor) * gain, all in float32.
 */
export function rmsNorm(
  x: Float32Array,
  gain: Float32Array,
  out: Float32Array,
  rows: number,
  cols: number,
  options: RmsNormOptions,
): void {
  const xStride = options.xStride ?? cols;
  const outStride = options.outStride ?? cols;
  const partial = new Float32Array(16);
  for (let i = 0; i < rows; i++) {
    partial.fill(0);
    for (let c = 0; c < cols; c++) {
      const value = x[i * xStride + c]!;
      partial[c & 15] = partial[c & 15]! + f(value * value);
    }
    for (let half = 8; half >= 1; half >>= 1) {
      for (let j = 0; j < half; j++) partial[j] = partial[j]! + partial[j + half]!;
    }
    const factor = f(1 / f(Math.sqrt(f(f(partial[0]! / cols) + f(options.epsilon)))));
    for (let c = 0; c < cols; c++) {
      out[i * outStride + c] = f(f(x[i * xStride + c]! * factor) * gain[c]!);
    }
  }
}

/** Rotates interleaved pairs: (a, b) -> (a cos - b sin, a sin + b cos), in place. `cosSin` is `[positions, dims]` of (cos, sin) pairs. */
export function rope(x: Float32Array, cosSin: Float32Array, positions: Int32Array, shape: RopeShape): void {
  const { rows, heads, dims, rowStride, headStride, offset } = shape;
  for (let i = 0; i < rows; i++) {
    const table = positions[i]! * dims;
    for (let h = 0; h < heads; h++) {
      const start = i * rowStride + h * headStride + offset;
      for (let d = 0; d < dims; d += 2) {
        const a = x[start + d]!;
        const b = x[start + d + 1]!;
        const cos = cosSin[table + d]!;
        const sin = cosSin[table + d + 1]!;
        x[start + d] = f(f(a * cos) - f(b * sin));
        x[start + d + 1] = f(f(a * sin) + f(b * cos));
      }
    }
  }
}

/**
 * Softmax of scale * x per row, in place; columns beyond `lengths[row]` become 0, and so does a row whose logits are all
 * -Infinity. Exponentials and their sum are those of float64, so the kernel agrees within a few units in the last place.
 */
export function softmax(x: Float32Array, rows: number, cols: number, options: SoftmaxOptions = {}): void {
  const stride = options.stride ?? cols;
  const scale = f(options.scale ?? 1);
  for (let i = 0; i < rows; i++) {
    const start = i * stride;
    const length = options.lengths === undefined ? cols : Math.min(Math.max(options.lengths[i]!, 0), cols);
    let max = -Infinity;
    for (let c = 0; c < length; c++) max = Math.max(max, f(x[start + c]! * scale));
    let sum = 0;
    for (let c = 0; c < length; c++) {
      const e = max === -Infinity ? 0 : Math.exp(f(f(x[start + c]! * scale) - max));
      x[start + c] = e;
      sum += e;
    }
    for (let c = 0; c < length; c++) x[start + c] = sum === 0 ? 0 : x[start + c]! / sum;
    x.fill(0, start + length, start + cols);
  }
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: Float32Array, out: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = 1 / (1 + Math.exp(-x[i]!));
}

/** x / (1 + e^-x), with silu(-Infinity) = 0. */
export function silu(x: Float32Array, out: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = siluOf(x[i]!);
}

/** silu(gate) * up, the gated activation of an expert. */
export function siluMul(gate: Float32Array, up: Float32Array, out: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = siluOf(gate[i]!) * up[i]!;
}

function siluOf(x: number): number {
  return x === -Infinity ? 0 : x / (1 + Math.exp(-x));
}

/** out = x + y. */
export function add(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = x[i]! + y[i]!;
}

/** out = out + scale * x, with the product rounded to float32 first. */
export function addScaled(x: Float32Array, scale: number, out: Float32Array, n: number): void {
  const s = f(scale);
  for (let i = 0; i < n; i++) out[i] = out[i]! + f(s * x[i]!);
}

/** Rounds to bfloat16 precision, ties to even. */
export function toBf16(x: Float32Array, out: Float32Array, n: number): void {
  for (let i = 0; i < n; i++) out[i] = roundBf16(x[i]!);
}
