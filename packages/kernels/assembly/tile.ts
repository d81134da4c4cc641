// Tiles: 1 to 4 rows of packed activations times one block of 8 weight rows, added to C:
// C[i, 0..8) += (sum_k x[k][i] * w[k][0..8)) * xScale[i] * wScale.
// Products are added in the order of k, one rounding each, so a result does not depend on how many rows share a tile.
// Each unrolled step tests for the end: V8 hoists all loads of a basic block above its arithmetic, and more than one step
// a block would not fit into the registers.
import { evenCodes, lowerE4m3, madd, oddCodes, upperE4m3 } from './simd';

@inline
function addRow(c: usize, s: v128, t: v128, xs: usize, ws: v128): void {
  const f = v128.load32_splat(xs);
  v128.store(c, madd(v128.load(c), f32x4.mul(s, f), ws));
  v128.store(c, madd(v128.load(c, 16), f32x4.mul(t, f), ws), 16);
}

function tile4(w: usize, x: usize, k: i32, c: usize, cs: usize, xs: usize, xss: usize, ws: f32): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  let a: v128, b0: v128, b1: v128;
  const end = x + <usize>(k * 16);
  while (true) {
    if (x >= end) break;
    b0 = v128.load(w);
    b1 = v128.load(w, 16);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    a = v128.load32_splat(x, 12);
    c30 = madd(c30, b0, a);
    c31 = madd(c31, b1, a);
    x += 16;
    if (x >= end) break;
    b0 = v128.load(w, 32);
    b1 = v128.load(w, 48);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    a = v128.load32_splat(x, 12);
    c30 = madd(c30, b0, a);
    c31 = madd(c31, b1, a);
    x += 16;
    if (x >= end) break;
    b0 = v128.load(w, 64);
    b1 = v128.load(w, 80);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    a = v128.load32_splat(x, 12);
    c30 = madd(c30, b0, a);
    c31 = madd(c31, b1, a);
    x += 16;
    if (x >= end) break;
    b0 = v128.load(w, 96);
    b1 = v128.load(w, 112);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    a = v128.load32_splat(x, 12);
    c30 = madd(c30, b0, a);
    c31 = madd(c31, b1, a);
    x += 16;
    w += 128;
  }
  const v = f32x4.splat(ws);
  addRow(c, c00, c01, xs, v);
  addRow(c + cs, c10, c11, xs + xss, v);
  addRow(c + 2 * cs, c20, c21, xs + 2 * xss, v);
  addRow(c + 3 * cs, c30, c31, xs + 3 * xss, v);
}

function tile3(w: usize, x: usize, k: i32, c: usize, cs: usize, xs: usize, xss: usize, ws: f32): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00;
  let a: v128, b0: v128, b1: v128;
  const end = x + <usize>(k * 12);
  while (true) {
    if (x >= end) break;
    b0 = v128.load(w);
    b1 = v128.load(w, 16);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    x += 12;
    if (x >= end) break;
    b0 = v128.load(w, 32);
    b1 = v128.load(w, 48);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    x += 12;
    if (x >= end) break;
    b0 = v128.load(w, 64);
    b1 = v128.load(w, 80);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    x += 12;
    if (x >= end) break;
    b0 = v128.load(w, 96);
    b1 = v128.load(w, 112);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    a = v128.load32_splat(x, 8);
    c20 = madd(c20, b0, a);
    c21 = madd(c21, b1, a);
    x += 12;
    w += 128;
  }
  const v = f32x4.splat(ws);
  addRow(c, c00, c01, xs, v);
  addRow(c + cs, c10, c11, xs + xss, v);
  addRow(c + 2 * cs, c20, c21, xs + 2 * xss, v);
}

function tile2(w: usize, x: usize, k: i32, c: usize, cs: usize, xs: usize, xss: usize, ws: f32): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00;
  let a: v128, b0: v128, b1: v128;
  const end = x + <usize>(k * 8);
  while (true) {
    if (x >= end) break;
    b0 = v128.load(w);
    b1 = v128.load(w, 16);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    x += 8;
    if (x >= end) break;
    b0 = v128.load(w, 32);
    b1 = v128.load(w, 48);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    x += 8;
    if (x >= end) break;
    b0 = v128.load(w, 64);
    b1 = v128.load(w, 80);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    x += 8;
    if (x >= end) break;
    b0 = v128.load(w, 96);
    b1 = v128.load(w, 112);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    x += 8;
    w += 128;
  }
  const v = f32x4.splat(ws);
  addRow(c, c00, c01, xs, v);
  addRow(c + cs, c10, c11, xs + xss, v);
}

function tile1(w: usize, x: usize, k: i32, c: usize, xs: usize, ws: f32): void {
  let c00 = f32x4.splat(0), c01 = c00;
  const end = x + <usize>((k & ~3) * 4);
  while (x < end) {
    let a = v128.load32_splat(x);
    c00 = madd(c00, v128.load(w), a);
    c01 = madd(c01, v128.load(w, 16), a);
    a = v128.load32_splat(x, 4);
    c00 = madd(c00, v128.load(w, 32), a);
    c01 = madd(c01, v128.load(w, 48), a);
    a = v128.load32_splat(x, 8);
    c00 = madd(c00, v128.load(w, 64), a);
    c01 = madd(c01, v128.load(w, 80), a);
    a = v128.load32_splat(x, 12);
    c00 = madd(c00, v128.load(w, 96), a);
    c01 = madd(c01, v128.load(w, 112), a);
    x += 16;
    w += 128;
  }
  for (let i = 0; i < (k & 3); i++) {
    const a = v128.load32_splat(x);
    c00 = madd(c00, v128.load(w), a);
    c01 = madd(c01, v128.load(w, 16), a);
    x += 4;
    w += 32;
  }
  addRow(c, c00, c01, xs, f32x4.splat(ws));
}

/**
 * One tile of `rows` (1..4) rows. w: float32 `[k][8]`; x: float32 `[k][rows]`; cs: bytes between rows of C;
 * xs: address of the first row's activation scale, xss: bytes to the next row's; ws: weight scale.
 */
export function tile(rows: i32, w: usize, x: usize, k: i32, c: usize, cs: usize, xs: usize, xss: usize, ws: f32): void {
  if (rows == 4) tile4(w, x, k, c, cs, xs, xss, ws);
  else if (rows == 3) tile3(w, x, k, c, cs, xs, xss, ws);
  else if (rows == 2) tile2(w, x, k, c, cs, xs, xss, ws);
  else tile1(w, x, k, c, xs, ws);
}

/**
 * The same for 2 rows straight from an E4M3 panel with vectors `step` bytes apart, where decoding to memory first would not pay. x must be padded with
 * zeros to an even k.
 */
export function e4m3Tile2(w: usize, step: usize, x: usize, k: i32, c: usize, cs: usize, xs: usize, xss: usize, ws: f32): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00;
  let a: v128, b0: v128, b1: v128;
  const end = x + (<usize>((k + 1) >> 1) << 4);
  while (true) {
    if (x >= end) break;
    b1 = evenCodes(v128.load(w));
    b0 = upperE4m3(b1);
    b1 = lowerE4m3(b1);
    a = v128.load32_splat(x);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 4);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    b1 = oddCodes(v128.load(w));
    b0 = upperE4m3(b1);
    b1 = lowerE4m3(b1);
    a = v128.load32_splat(x, 8);
    c00 = madd(c00, b0, a);
    c01 = madd(c01, b1, a);
    a = v128.load32_splat(x, 12);
    c10 = madd(c10, b0, a);
    c11 = madd(c11, b1, a);
    w += step;
    x += 16;
  }
  const v = f32x4.splat(ws);
  addRow(c, c00, c01, xs, v);
  addRow(c + cs, c10, c11, xs + xss, v);
}
