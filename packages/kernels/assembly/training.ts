// What backward passes and the optimiser add to the forward kernels; operands are dense rows of floats.
import { exp4 } from './exp';
import { loadPartial, madd, maxLanes, storePartial, sumLanes } from './simd';

/** out [cols, rows] = x [rows, cols] transposed. */
export function transposeRows(x: usize, xStride: usize, rows: i32, cols: i32, out: usize): void {
  const line = <usize>rows << 2;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    let p = x + <usize>r * xStride, o = out + (<usize>r << 2);
    let c = 0;
    for (; c + 4 <= cols; c += 4) {
      const v0 = v128.load(p), v1 = v128.load(p + xStride), v2 = v128.load(p + 2 * xStride), v3 = v128.load(p + 3 * xStride);
      const a0 = v128.shuffle<u32>(v0, v1, 0, 4, 1, 5), a1 = v128.shuffle<u32>(v0, v1, 2, 6, 3, 7);
      const b0 = v128.shuffle<u32>(v2, v3, 0, 4, 1, 5), b1 = v128.shuffle<u32>(v2, v3, 2, 6, 3, 7);
      v128.store(o, v128.shuffle<u64>(a0, b0, 0, 2));
      v128.store(o + line, v128.shuffle<u64>(a0, b0, 1, 3));
      v128.store(o + 2 * line, v128.shuffle<u64>(a1, b1, 0, 2));
      v128.store(o + 3 * line, v128.shuffle<u64>(a1, b1, 1, 3));
      p += 16;
      o += line << 2;
    }
    for (; c < cols; c++) {
      for (let j: usize = 0; j < 4; j++) store<f32>(o + (j << 2), load<f32>(p + j * xStride));
      p += 4;
      o += line;
    }
  }
  for (; r < rows; r++) {
    const p = x + <usize>r * xStride;
    let o = out + (<usize>r << 2);
    for (let c = 0; c < cols; c++) {
      store<f32>(o, load<f32>(p + (<usize>c << 2)));
      o += line;
    }
  }
}

/** dot of n floats in 4 partial sums. */
function dot(x: usize, y: usize, n: i32): f32 {
  let sum = f32x4.splat(0);
  for (; n >= 4; n -= 4) {
    sum = madd(sum, v128.load(x), v128.load(y));
    x += 16;
    y += 16;
  }
  if (n > 0) sum = madd(sum, loadPartial(x, n), loadPartial(y, n));
  return sumLanes(sum);
}

/** out[r] = dot(x[r], y[r]). */
export function rowDots(x: usize, y: usize, out: usize, rows: i32, cols: i32): void {
  const line = <usize>cols << 2;
  for (let r = 0; r < rows; r++) {
    store<f32>(out + (<usize>r << 2), dot(x, y, cols));
    x += line;
    y += line;
  }
}

/** x[r] *= factors[r]. */
export function scaleRows(x: usize, factors: usize, rows: i32, cols: i32): void {
  for (let r = 0; r < rows; r++) {
    const s = f32x4.splat(load<f32>(factors + (<usize>r << 2)));
    let n = cols;
    for (; n >= 4; n -= 4) {
      v128.store(x, f32x4.mul(v128.load(x), s));
      x += 16;
    }
    if (n > 0) {
      storePartial(x, f32x4.mul(loadPartial(x, n), s), n);
      x += <usize>n << 2;
    }
  }
}

/** gradient = scale * p * (gradient - dot(p, gradient)) per row. */
export function softmaxBackward(p: usize, gradient: usize, rows: i32, cols: i32, scale: f32): void {
  const s = f32x4.splat(scale);
  for (let r = 0; r < rows; r++) {
    const d = f32x4.splat(dot(p, gradient, cols));
    let n = cols;
    for (; n >= 4; n -= 4) {
      v128.store(gradient, f32x4.mul(f32x4.mul(v128.load(p), f32x4.sub(v128.load(gradient), d)), s));
      p += 16;
      gradient += 16;
    }
    if (n > 0) {
      storePartial(gradient, f32x4.mul(f32x4.mul(loadPartial(p, n), f32x4.sub(loadPartial(gradient, n), d)), s), n);
      p += <usize>n << 2;
      gradient += <usize>n << 2;
    }
  }
}

/** dx (+)= f * (dy g - x f^2 mean(dy g x)), dgain += dy x f, f = 1 / sqrt(mean(x^2) + epsilon); strides in bytes. */
export function rmsNormBackward(
  x: usize, xStride: usize, gain: usize, dy: usize, dx: usize, dxStride: usize, dgain: usize,
  rows: i32, cols: i32, epsilon: f32, accumulate: i32,
): void {
  const size = <f32>cols;
  for (let r = 0; r < rows; r++) {
    let sum = f32x4.splat(0), squares = sum;
    let n = cols;
    let p = x, q = dy, g = gain;
    for (; n >= 4; n -= 4) {
      const v = v128.load(p);
      squares = madd(squares, v, v);
      sum = madd(sum, f32x4.mul(v128.load(q), v128.load(g)), v);
      p += 16;
      q += 16;
      g += 16;
    }
    if (n > 0) {
      const v = loadPartial(p, n);
      squares = madd(squares, v, v);
      sum = madd(sum, f32x4.mul(loadPartial(q, n), loadPartial(g, n)), v);
    }
    const factor: f32 = 1 / sqrt<f32>(sumLanes(squares) / size + epsilon);
    const f = f32x4.splat(factor);
    const back = f32x4.splat(sumLanes(sum) / size * factor * factor);
    p = x;
    q = dy;
    g = gain;
    let o = dx, h = dgain;
    n = cols;
    for (; n >= 4; n -= 4) {
      const v = v128.load(p), e = v128.load(q);
      const t = f32x4.mul(f32x4.sub(f32x4.mul(e, v128.load(g)), f32x4.mul(v, back)), f);
      v128.store(o, accumulate ? f32x4.add(v128.load(o), t) : t);
      v128.store(h, f32x4.add(v128.load(h), f32x4.mul(f32x4.mul(e, v), f)));
      p += 16;
      q += 16;
      g += 16;
      o += 16;
      h += 16;
    }
    if (n > 0) {
      const v = loadPartial(p, n), e = loadPartial(q, n);
      const t = f32x4.mul(f32x4.sub(f32x4.mul(e, loadPartial(g, n)), f32x4.mul(v, back)), f);
      storePartial(o, accumulate ? f32x4.add(loadPartial(o, n), t) : t, n);
      storePartial(h, f32x4.add(loadPartial(h, n), f32x4.mul(f32x4.mul(e, v), f)), n);
    }
    x += xStride;
    dy += <usize>cols << 2;
    dx += dxStride;
  }
}

@inline
function siluGradient(g: v128, u: v128, d: v128): v128 {
  const one = f32x4.splat(1);
  const s = f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(g))));
  return f32x4.mul(f32x4.mul(d, u), f32x4.mul(s, f32x4.add(one, f32x4.mul(g, f32x4.sub(one, s)))));
}

@inline
function siluValue(g: v128, d: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.mul(d, f32x4.div(g, f32x4.add(one, exp4(f32x4.neg(g)))));
}

/** Gradients of silu(gate) * up, written over gate and up. */
export function siluMulBackward(gate: usize, up: usize, gradient: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    const g = v128.load(gate), u = v128.load(up), d = v128.load(gradient);
    v128.store(gate, siluGradient(g, u, d));
    v128.store(up, siluValue(g, d));
    gate += 16;
    up += 16;
    gradient += 16;
  }
  if (n > 0) {
    const g = loadPartial(gate, n), u = loadPartial(up, n), d = loadPartial(gradient, n);
    storePartial(gate, siluGradient(g, u, d), n);
    storePartial(up, siluValue(g, d), n);
  }
}

/** Per row: x = scale * (softmax(x) - onehot(target)); sums[2r] = sum of exponentials, sums[2r + 1] = max - x[target]. */
export function crossEntropy(x: usize, targets: usize, rows: i32, cols: i32, scale: f32, sums: usize): void {
  for (let r = 0; r < rows; r++) {
    const whole = cols & ~3;
    const rest = cols - whole;
    let top = f32x4.splat(-Infinity);
    for (let c = 0; c < whole; c += 4) top = f32x4.pmax(top, v128.load(x + (<usize>c << 2)));
    let peak = maxLanes(top);
    for (let c = whole; c < cols; c++) peak = max<f32>(peak, load<f32>(x + (<usize>c << 2)));
    const m = f32x4.splat(peak);
    const target = x + (<usize>load<i32>(targets) << 2);
    store<f32>(sums + 4, peak - load<f32>(target));
    let sum = f32x4.splat(0);
    for (let c = 0; c < whole; c += 4) {
      const p = x + (<usize>c << 2);
      const e = exp4(f32x4.sub(v128.load(p), m));
      v128.store(p, e);
      sum = f32x4.add(sum, e);
    }
    let total = sumLanes(sum);
    const tail = x + (<usize>whole << 2);
    if (rest > 0) {
      const e = exp4(f32x4.sub(loadPartial(tail, rest), m));
      storePartial(tail, e, rest);
      for (let c = 0; c < rest; c++) total += load<f32>(tail + (<usize>c << 2));
    }
    store<f32>(sums, total);
    const f = f32x4.splat(scale / total);
    for (let c = 0; c < whole; c += 4) {
      const p = x + (<usize>c << 2);
      v128.store(p, f32x4.mul(v128.load(p), f));
    }
    if (rest > 0) storePartial(tail, f32x4.mul(loadPartial(tail, rest), f), rest);
    store<f32>(target, load<f32>(target) - scale);
    x += <usize>cols << 2;
    targets += 4;
    sums += 8;
  }
}

/** Sum of squares in float64, in 2 partial sums. */
export function sumSquares64(x: usize, n: i32): f64 {
  let sum = f64x2.splat(0);
  for (; n >= 4; n -= 4) {
    const v = v128.load(x);
    const a = f64x2.promote_low_f32x4(v), b = f64x2.promote_low_f32x4(v128.shuffle<u64>(v, v, 1, 1));
    sum = f64x2.add(sum, f64x2.mul(a, a));
    sum = f64x2.add(sum, f64x2.mul(b, b));
    x += 16;
  }
  let total = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
  for (; n > 0; n--) {
    const v = <f64>load<f32>(x);
    total += v * v;
    x += 4;
  }
  return total;
}

@inline
function bf16Of(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return i32x4.shr_u(i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd), 16);
}

/** AdamW on n (a multiple of 4) weights with bfloat16 moments; the gradient is scaled first. */
export function adamW(
  w: usize, g: usize, m: usize, v: usize, n: i32, scale: f32, beta1: f32, beta2: f32,
  correction1: f32, correction2: f32, epsilon: f32, rate: f32, keep: f32,
): void {
  const s = f32x4.splat(scale), b1 = f32x4.splat(beta1), b2 = f32x4.splat(beta2);
  const n1 = f32x4.splat(1 - beta1), n2 = f32x4.splat(1 - beta2);
  const c1 = f32x4.splat(correction1), c2 = f32x4.splat(correction2), e = f32x4.splat(epsilon);
  const lr = f32x4.splat(rate), k = f32x4.splat(keep);
  for (; n > 0; n -= 4) {
    const d = f32x4.mul(v128.load(g), s);
    const first = f32x4.add(f32x4.mul(b1, i32x4.shl(v128.load16x4_u(m), 16)), f32x4.mul(n1, d));
    const second = f32x4.add(f32x4.mul(b2, i32x4.shl(v128.load16x4_u(v), 16)), f32x4.mul(f32x4.mul(n2, d), d));
    const step = f32x4.div(f32x4.mul(first, c1), f32x4.add(f32x4.sqrt(f32x4.mul(second, c2)), e));
    v128.store(w, f32x4.sub(f32x4.mul(v128.load(w), k), f32x4.mul(lr, step)));
    const p = bf16Of(first), q = bf16Of(second);
    v128.store64_lane(m, i16x8.narrow_i32x4_u(p, p), 0);
    v128.store64_lane(v, i16x8.narrow_i32x4_u(q, q), 0);
    w += 16;
    g += 16;
    m += 8;
    v += 8;
  }
}
