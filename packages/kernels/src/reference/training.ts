import type { AdamWStep, RmsNormBackwardOptions } from '../training-kernels.js';
import { roundBf16 } from './formats.js';

const f = Math.fround;

/** out `[cols, rows]` = x `[rows, cols]` transposed. */
export function transpose(
  x: Float32Array,
  out: Float32Array,
  rows: number,
  cols: number,
  xStride: number = cols,
): void {
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = x[r * xStride + c]!;
}

/** Partial sums l = 0..3 of elements l mod 4, joined as (0 + 2) + (1 + 3). */
function inLanes(n: number, value: (i: number) => number): number {
  const lanes = new Float32Array(4);
  for (let i = 0; i < n; i++) lanes[i & 3] = lanes[i & 3]! + value(i);
  return f(f(lanes[0]! + lanes[2]!) + f(lanes[1]! + lanes[3]!));
}

/** out[r] = dot(x[r], y[r]). */
export function rowDots(
  x: Float32Array,
  y: Float32Array,
  out: Float32Array,
  rows: number,
  cols: number,
): void {
  for (let r = 0; r < rows; r++) out[r] = inLanes(cols, (c) => f(x[r * cols + c]! * y[r * cols + c]!));
}

/** x[r] *= factors[r]. */
export function scaleRows(x: Float32Array, factors: Float32Array, rows: number, cols: number): void {
  for (let i = 0; i < rows * cols; i++) x[i] = x[i]! * factors[Math.floor(i / cols)]!;
}

/** gradient = scale * p * (gradient - dot(p, gradient)) per row. */
export function softmaxBackward(
  p: Float32Array,
  gradient: Float32Array,
  rows: number,
  cols: number,
  scale: number,
): void {
  for (let r = 0; r < rows; r++) {
    const at = r * cols;
    const d = inLanes(cols, (c) => f(p[at + c]! * gradient[at + c]!));
    for (let c = at; c < at + cols; c++) gradient[c] = f(f(p[c]! * f(gradient[c]! - d)) * f(scale));
  }
}

/** Gradients of the norm: dx set or added to, dgain added to. */
export function rmsNormBackward(
  x: Float32Array,
  gain: Float32Array,
  dy: Float32Array,
  dx: Float32Array,
  dgain: Float32Array,
  rows: number,
  cols: number,
  { epsilon, xStride = cols, dxStride = cols, accumulate = false }: RmsNormBackwardOptions,
): void {
  for (let r = 0; r < rows; r++) {
    const value = (c: number): number => x[r * xStride + c]!;
    const scaled = (c: number): number => f(dy[r * cols + c]! * gain[c]!);
    const squares = inLanes(cols, (c) => f(value(c) * value(c)));
    const sum = inLanes(cols, (c) => f(scaled(c) * value(c)));
    const factor = f(1 / f(Math.sqrt(f(f(squares / cols) + f(epsilon)))));
    const back = f(f(f(sum / cols) * factor) * factor);
    for (let c = 0; c < cols; c++) {
      const at = r * dxStride + c;
      const t = f(f(scaled(c) - f(value(c) * back)) * factor);
      dx[at] = accumulate ? dx[at]! + t : t;
      dgain[c] = dgain[c]! + f(f(dy[r * cols + c]! * value(c)) * factor);
    }
  }
}

/** Gradients of silu(gate) * up, over gate and up; exponentials are those of float64. */
export function siluMulBackward(
  gate: Float32Array,
  up: Float32Array,
  gradient: Float32Array,
  n: number,
): void {
  for (let i = 0; i < n; i++) {
    const g = gate[i]!;
    const s = 1 / (1 + Math.exp(-g));
    gate[i] = gradient[i]! * up[i]! * s * (1 + g * (1 - s));
    up[i] = gradient[i]! * g * s;
  }
}

/** Sum of -log softmax(x)[target]; x becomes scale * (softmax(x) - onehot(target)). Exponentials are those of float64. */
export function crossEntropy(
  x: Float32Array,
  targets: Int32Array,
  rows: number,
  cols: number,
  scale: number,
): number {
  let loss = 0;
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * cols, (r + 1) * cols);
    const peak = row.reduce((most, v) => Math.max(most, v), Number.NEGATIVE_INFINITY);
    const total = row.reduce((sum, v) => sum + Math.exp(v - peak), 0);
    const target = targets[r]!;
    loss += Math.log(total) + peak - row[target]!;
    for (let c = 0; c < cols; c++) row[c] = (scale * Math.exp(row[c]! - peak)) / total;
    row[target] = row[target]! - f(scale);
  }
  return loss;
}

/** Sum of squares in float64: two partial sums over the first multiple of 4, then the rest. */
export function sumSquares(x: Float32Array, n: number): number {
  const whole = n & ~3;
  const lanes = [0, 0];
  for (let i = 0; i < whole; i++) lanes[i & 1] = lanes[i & 1]! + x[i]! * x[i]!;
  let total = lanes[0]! + lanes[1]!;
  for (let i = whole; i < n; i++) total += x[i]! * x[i]!;
  return total;
}

/** One AdamW step, every operation rounded to float32, moments to bfloat16 after use. */
export function adamW(
  w: Float32Array,
  g: Float32Array,
  m: Uint16Array,
  v: Uint16Array,
  n: number,
  step: AdamWStep,
): void {
  const bits = new Uint32Array(1);
  const value = new Float32Array(bits.buffer);
  const widen = (code: number): number => {
    bits[0] = code << 16;
    return value[0]!;
  };
  const pack = (x: number): number => {
    value[0] = roundBf16(x);
    return bits[0]! >>> 16;
  };
  const [beta1, beta2] = [f(step.beta1), f(step.beta2)];
  for (let i = 0; i < n; i++) {
    const d = f(g[i]! * f(step.scale));
    const first = f(f(beta1 * widen(m[i]!)) + f(f(1 - beta1) * d));
    const second = f(f(beta2 * widen(v[i]!)) + f(f(f(1 - beta2) * d) * d));
    const root = f(Math.sqrt(f(second * f(step.correction2))));
    const move = f(f(first * f(step.correction1)) / f(root + f(step.epsilon)));
    w[i] = f(f(w[i]! * f(step.keep)) - f(f(step.learningRate) * move));
    m[i] = pack(first);
    v[i] = pack(second);
  }
}
