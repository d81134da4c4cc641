// One activation row times panels. Four panels (32 rows) share each activation; sums run in the order of k per block of
// 128, exactly as in tile.ts.
import { BF16, E4M3 } from './panels';
import { evenCodes, lowerBf16, lowerE4m3, madd, oddCodes, upperBf16, upperE4m3 } from './simd';

@inline
function addSum(c: usize, s: v128, xs: v128, ws: v128): void {
  v128.store(c, madd(v128.load(c), f32x4.mul(s, xs), ws));
}

function e4m3x4(w: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
  const end = w + (<usize>((k + 1) >> 1) << 6);
  while (w < end) {
    const x0 = v128.load32_splat(x), x1 = v128.load32_splat(x, 4);
    let v = v128.load(w);
    let t = evenCodes(v);
    c0 = madd(c0, upperE4m3(t), x0);
    c1 = madd(c1, lowerE4m3(t), x0);
    t = oddCodes(v);
    c0 = madd(c0, upperE4m3(t), x1);
    c1 = madd(c1, lowerE4m3(t), x1);
    v = v128.load(w, 16);
    t = evenCodes(v);
    c2 = madd(c2, upperE4m3(t), x0);
    c3 = madd(c3, lowerE4m3(t), x0);
    t = oddCodes(v);
    c2 = madd(c2, upperE4m3(t), x1);
    c3 = madd(c3, lowerE4m3(t), x1);
    v = v128.load(w, 32);
    t = evenCodes(v);
    c4 = madd(c4, upperE4m3(t), x0);
    c5 = madd(c5, lowerE4m3(t), x0);
    t = oddCodes(v);
    c4 = madd(c4, upperE4m3(t), x1);
    c5 = madd(c5, lowerE4m3(t), x1);
    v = v128.load(w, 48);
    t = evenCodes(v);
    c6 = madd(c6, upperE4m3(t), x0);
    c7 = madd(c7, lowerE4m3(t), x0);
    t = oddCodes(v);
    c6 = madd(c6, upperE4m3(t), x1);
    c7 = madd(c7, lowerE4m3(t), x1);
    w += 64;
    x += 8;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
  addSum(c + 32, c2, xs, ws);
  addSum(c + 48, c3, xs, ws);
  addSum(c + 64, c4, xs, ws);
  addSum(c + 80, c5, xs, ws);
  addSum(c + 96, c6, xs, ws);
  addSum(c + 112, c7, xs, ws);
}

function e4m3x1(w: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0;
  const end = w + <usize>(((k + 1) >> 1) << 4);
  while (w < end) {
    const v = v128.load(w);
    let t = evenCodes(v);
    let a = v128.load32_splat(x);
    c0 = madd(c0, upperE4m3(t), a);
    c1 = madd(c1, lowerE4m3(t), a);
    t = oddCodes(v);
    a = v128.load32_splat(x, 4);
    c0 = madd(c0, upperE4m3(t), a);
    c1 = madd(c1, lowerE4m3(t), a);
    w += 16;
    x += 8;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
}

function bf16x4(w: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
  const end = w + (<usize>k << 6);
  while (w < end) {
    const a = v128.load32_splat(x);
    let v = v128.load(w);
    c0 = madd(c0, upperBf16(v), a);
    c1 = madd(c1, lowerBf16(v), a);
    v = v128.load(w, 16);
    c2 = madd(c2, upperBf16(v), a);
    c3 = madd(c3, lowerBf16(v), a);
    v = v128.load(w, 32);
    c4 = madd(c4, upperBf16(v), a);
    c5 = madd(c5, lowerBf16(v), a);
    v = v128.load(w, 48);
    c6 = madd(c6, upperBf16(v), a);
    c7 = madd(c7, lowerBf16(v), a);
    w += 64;
    x += 4;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
  addSum(c + 32, c2, xs, ws);
  addSum(c + 48, c3, xs, ws);
  addSum(c + 64, c4, xs, ws);
  addSum(c + 80, c5, xs, ws);
  addSum(c + 96, c6, xs, ws);
  addSum(c + 112, c7, xs, ws);
}

function bf16x1(w: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0;
  const end = w + (<usize>k << 4);
  while (w < end) {
    const a = v128.load32_splat(x);
    const v = v128.load(w);
    c0 = madd(c0, upperBf16(v), a);
    c1 = madd(c1, lowerBf16(v), a);
    w += 16;
    x += 4;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
}

function f32x4panels(w: usize, stride: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0, c7 = c0;
  let p = w, q = w + stride, r = q + stride, s = r + stride;
  const end = p + (<usize>k << 5);
  while (p < end) {
    const a = v128.load32_splat(x);
    c0 = madd(c0, v128.load(p), a);
    c1 = madd(c1, v128.load(p, 16), a);
    c2 = madd(c2, v128.load(q), a);
    c3 = madd(c3, v128.load(q, 16), a);
    c4 = madd(c4, v128.load(r), a);
    c5 = madd(c5, v128.load(r, 16), a);
    c6 = madd(c6, v128.load(s), a);
    c7 = madd(c7, v128.load(s, 16), a);
    p += 32;
    q += 32;
    r += 32;
    s += 32;
    x += 4;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
  addSum(c + 32, c2, xs, ws);
  addSum(c + 48, c3, xs, ws);
  addSum(c + 64, c4, xs, ws);
  addSum(c + 80, c5, xs, ws);
  addSum(c + 96, c6, xs, ws);
  addSum(c + 112, c7, xs, ws);
}

function f32x1panel(w: usize, x: usize, k: i32, c: usize, xScale: f32, wScale: f32): void {
  let c0 = f32x4.splat(0), c1 = c0;
  const end = w + (<usize>k << 5);
  while (w < end) {
    const a = v128.load32_splat(x);
    c0 = madd(c0, v128.load(w), a);
    c1 = madd(c1, v128.load(w, 16), a);
    w += 32;
    x += 4;
  }
  const xs = f32x4.splat(xScale), ws = f32x4.splat(wScale);
  addSum(c, c0, xs, ws);
  addSum(c + 16, c1, xs, ws);
}

/** Adds one block of k <= 128 columns of a group of 4 panels (float32: `stride` bytes apart) to the 32 sums at c. */
@inline
export function gemvBlock4(format: i32, w: usize, stride: usize, x: usize, k: i32, c: usize, xs: f32, ws: f32): void {
  if (format == E4M3) e4m3x4(w, x, k, c, xs, ws);
  else if (format == BF16) bf16x4(w, x, k, c, xs, ws);
  else f32x4panels(w, stride, x, k, c, xs, ws);
}

/** Adds one block of k <= 128 columns of one panel to the 8 sums at c. */
@inline
export function gemvBlock1(format: i32, w: usize, x: usize, k: i32, c: usize, xs: f32, ws: f32): void {
  if (format == E4M3) e4m3x1(w, x, k, c, xs, ws);
  else if (format == BF16) bf16x1(w, x, k, c, xs, ws);
  else f32x1panel(w, x, k, c, xs, ws);
}
