import { exp4 } from './exp';
import { laneMask, loadPartial, madd, maxLanes, storePartial, sumLanes } from './simd';

@inline
function sigmoid4(x: v128): v128 {
  const one = f32x4.splat(1);
  return f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(x))));
}

/** The lower bound keeps -Infinity from becoming NaN; the result is -0 there already. */
@inline
function silu4(value: v128): v128 {
  const x = f32x4.pmax(value, f32x4.splat(-1000));
  return f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

/** Ties to even; NaN stays a NaN by setting its quiet bit. */
@inline
function toBf164(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd);
  const value = v128.bitselect(rounded, v128.or(x, i32x4.splat(0x400000)), f32x4.eq(x, x));
  return v128.and(value, i32x4.splat(0xffff0000));
}

export function sigmoid(x: usize, out: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(out, sigmoid4(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, sigmoid4(loadPartial(x, n)), n);
}

export function silu(x: usize, out: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(out, silu4(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, silu4(loadPartial(x, n)), n);
}

export function siluMul(gate: usize, up: usize, out: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.mul(silu4(v128.load(gate)), v128.load(up)));
    gate += 16;
    up += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, f32x4.mul(silu4(loadPartial(gate, n)), loadPartial(up, n)), n);
}

export function add(x: usize, y: usize, out: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.add(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, f32x4.add(loadPartial(x, n), loadPartial(y, n)), n);
}

export function addScaled(x: usize, scale: f32, out: usize, n: i32): void {
  const s = f32x4.splat(scale);
  for (; n >= 4; n -= 4) {
    v128.store(out, madd(v128.load(out), s, v128.load(x)));
    x += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, madd(loadPartial(out, n), s, loadPartial(x, n)), n);
}

export function toBf16(x: usize, out: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(out, toBf164(v128.load(x)));
    x += 16;
    out += 16;
  }
  if (n > 0) storePartial(out, toBf164(loadPartial(x, n)), n);
}

/** Sum of squares in 16 partial sums (element c in partial sum c mod 16), folded by halves. */
function sumOfSquares(x: usize, n: i32): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (; n >= 16; n -= 16) {
    let v = v128.load(x);
    s0 = madd(s0, v, v);
    v = v128.load(x, 16);
    s1 = madd(s1, v, v);
    v = v128.load(x, 32);
    s2 = madd(s2, v, v);
    v = v128.load(x, 48);
    s3 = madd(s3, v, v);
    x += 64;
  }
  // Zero lanes add +0, which changes nothing.
  if (n > 0) {
    let v = loadPartial(x, n);
    s0 = madd(s0, v, v);
    if (n > 4) {
      v = loadPartial(x + 16, n - 4);
      s1 = madd(s1, v, v);
    }
    if (n > 8) {
      v = loadPartial(x + 32, n - 8);
      s2 = madd(s2, v, v);
    }
    if (n > 12) {
      v = loadPartial(x + 48, n - 12);
      s3 = madd(s3, v, v);
    }
  }
  return sumLanes(f32x4.add(f32x4.add(s0, s2), f32x4.add(s1, s3)));
}

export function rmsNorm(x: usize, xStride: usize, gain: usize, out: usize, outStride: usize, rows: i32, cols: i32, epsilon: f32): void {
  for (let i = 0; i < rows; i++) {
    const factor = f32x4.splat(1 / sqrt<f32>(sumOfSquares(x, cols) / <f32>cols + epsilon));
    let p = x, g = gain, o = out;
    let n = cols;
    for (; n >= 4; n -= 4) {
      v128.store(o, f32x4.mul(f32x4.mul(v128.load(p), factor), v128.load(g)));
      p += 16;
      g += 16;
      o += 16;
    }
    if (n > 0) storePartial(o, f32x4.mul(f32x4.mul(loadPartial(p, n), factor), loadPartial(g, n)), n);
    x += xStride;
    out += outStride;
  }
}

@inline
function rotate4(v: v128, t: v128): v128 {
  const cos = v128.shuffle<u32>(t, t, 0, 0, 2, 2);
  const sin = v128.xor(v128.shuffle<u32>(t, t, 1, 1, 3, 3), i32x4(0x80000000, 0, 0x80000000, 0));
  return f32x4.add(f32x4.mul(v, cos), f32x4.mul(v128.shuffle<u32>(v, v, 1, 0, 3, 2), sin));
}

/** x points at the first rotary dimension of row 0, head 0; strides in bytes. */
export function rope(x: usize, table: usize, positions: usize, rows: i32, heads: i32, dims: i32, rowStride: usize, headStride: usize): void {
  for (let i = 0; i < rows; i++) {
    const angles = table + <usize>load<i32>(positions + (<usize>i << 2)) * (<usize>dims << 2);
    for (let h = 0; h < heads; h++) {
      let p = x + <usize>i * rowStride + <usize>h * headStride;
      let t = angles;
      let d = 0;
      for (; d + 4 <= dims; d += 4) {
        v128.store(p, rotate4(v128.load(p), v128.load(t)));
        p += 16;
        t += 16;
      }
      if (d < dims) storePartial(p, rotate4(loadPartial(p, 2), loadPartial(t, 2)), 2);
    }
  }
}

/** Rows of cols floats, stride in bytes; `lengths` may be 0. */
export function softmax(x: usize, stride: usize, rows: i32, cols: i32, scale: f32, lengths: usize): void {
  const s = f32x4.splat(scale);
  for (let i = 0; i < rows; i++) {
    const length = lengths == 0 ? cols : min(max(load<i32>(lengths + (<usize>i << 2)), 0), cols);
    const whole = length & ~3;
    const rest = length & 3;
    const mask = laneMask(rest);
    let top = f32x4.splat(-Infinity);
    for (let c = 0; c < whole; c += 4) top = f32x4.pmax(top, f32x4.mul(v128.load(x + (<usize>c << 2)), s));
    const tail = x + (<usize>whole << 2);
    if (rest) {
      top = f32x4.pmax(top, v128.bitselect(f32x4.mul(loadPartial(tail, rest), s), f32x4.splat(-Infinity), mask));
    }
    const peak = maxLanes(top);
    // A row without any finite logit would give NaN: it becomes zero.
    const t = f32x4.splat(peak == -Infinity ? 0 : peak);
    let sum = f32x4.splat(0);
    for (let c = 0; c < whole; c += 4) {
      const p = x + (<usize>c << 2);
      const e = exp4(f32x4.sub(f32x4.mul(v128.load(p), s), t));
      v128.store(p, e);
      sum = f32x4.add(sum, e);
    }
    if (rest) {
      const e = v128.and(exp4(f32x4.sub(f32x4.mul(loadPartial(tail, rest), s), t)), mask);
      storePartial(tail, e, rest);
      sum = f32x4.add(sum, e);
    }
    const total = sumLanes(sum);
    const inverse = f32x4.splat(total == 0 ? 0 : 1 / total);
    for (let c = 0; c < whole; c += 4) {
      const p = x + (<usize>c << 2);
      v128.store(p, f32x4.mul(v128.load(p), inverse));
    }
    if (rest) storePartial(tail, f32x4.mul(loadPartial(tail, rest), inverse), rest);
    memory.fill(x + (<usize>length << 2), 0, <usize>(cols - length) << 2);
    x += stride;
  }
}
