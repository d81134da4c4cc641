// Panel layout: 8 weight rows side by side, column after column.
//   f32   [k][8] floats
//   bf16  [k][4] lanes of 32 bits: row L + 4 in the low half, row L in the high half
//   e4m3  [k / 2][4] lanes of 32 bits: row L + 4 at k, k + 1, then row L at k, k + 1 (k padded to even with code 0)
// Four panels of bf16 or e4m3 are interleaved by 16 bytes, [..][4 panels][16 bytes], so that a product with one row reads a
// single stream; panels left over at the end (fewer than 4) stand alone. "step" is the distance of a panel's vectors.
import { evenCodes, lowerBf16, lowerE4m3, oddCodes, upperBf16, upperE4m3 } from './simd';

@inline
export const F32: i32 = 0;
@inline
export const BF16: i32 = 1;
@inline
export const E4M3: i32 = 2;

/** Bytes of k columns of a panel (k even for E4M3). */
@inline
export function panelBytes(format: i32, k: i32): usize {
  return format == F32 ? (<usize>k) << 5 : format == BF16 ? (<usize>k) << 4 : (<usize>k) << 3;
}

/** Rows from 0 that lie in groups of four panels. */
@inline
export function groupedRows(rows: i32): i32 {
  return (rows & ~31) + ((rows & 31) > 24 ? 32 : 0);
}

/** Transposes 8 rows of 16-bit units; writes whole groups of 8 units, so up to 7 too many. */
function transpose16(src: usize, stride: usize, rows: i32, units: i32, dst: usize, step: usize): void {
  const last = rows - 1;
  const p0 = src, p1 = src + <usize>min(1, last) * stride, p2 = src + <usize>min(2, last) * stride;
  const p3 = src + <usize>min(3, last) * stride, p4 = src + <usize>min(4, last) * stride;
  const p5 = src + <usize>min(5, last) * stride, p6 = src + <usize>min(6, last) * stride;
  const p7 = src + <usize>min(7, last) * stride;
  for (let u = 0; u < units; u += 8) {
    const o = <usize>u << 1;
    // Rows in the order 4 0 5 1 6 2 7 3, so that each 32-bit lane gets (row L + 4, row L).
    const r0 = v128.load(p4 + o), r1 = v128.load(p0 + o), r2 = v128.load(p5 + o), r3 = v128.load(p1 + o);
    const r4 = v128.load(p6 + o), r5 = v128.load(p2 + o), r6 = v128.load(p7 + o), r7 = v128.load(p3 + o);
    const a0 = v128.shuffle<u16>(r0, r1, 0, 8, 1, 9, 2, 10, 3, 11), a1 = v128.shuffle<u16>(r0, r1, 4, 12, 5, 13, 6, 14, 7, 15);
    const a2 = v128.shuffle<u16>(r2, r3, 0, 8, 1, 9, 2, 10, 3, 11), a3 = v128.shuffle<u16>(r2, r3, 4, 12, 5, 13, 6, 14, 7, 15);
    const a4 = v128.shuffle<u16>(r4, r5, 0, 8, 1, 9, 2, 10, 3, 11), a5 = v128.shuffle<u16>(r4, r5, 4, 12, 5, 13, 6, 14, 7, 15);
    const a6 = v128.shuffle<u16>(r6, r7, 0, 8, 1, 9, 2, 10, 3, 11), a7 = v128.shuffle<u16>(r6, r7, 4, 12, 5, 13, 6, 14, 7, 15);
    transpose32Store(a0, a2, a4, a6, dst, step);
    transpose32Store(a1, a3, a5, a7, dst + (step << 2), step);
    dst += step << 3;
  }
}

@inline
function transpose32Store(a: v128, b: v128, c: v128, d: v128, dst: usize, step: usize): void {
  const ab0 = v128.shuffle<u32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<u32>(a, b, 2, 6, 3, 7);
  const cd0 = v128.shuffle<u32>(c, d, 0, 4, 1, 5), cd1 = v128.shuffle<u32>(c, d, 2, 6, 3, 7);
  v128.store(dst, v128.shuffle<u64>(ab0, cd0, 0, 2));
  v128.store(dst + step, v128.shuffle<u64>(ab0, cd0, 1, 3));
  v128.store(dst + 2 * step, v128.shuffle<u64>(ab1, cd1, 0, 2));
  v128.store(dst + 3 * step, v128.shuffle<u64>(ab1, cd1, 1, 3));
}

/** Transposes 4 rows of 32-bit units to `[k][..]` with `step` bytes between columns; writes up to 3 columns too many. */
export function transpose32(src: usize, stride: usize, rows: i32, units: i32, dst: usize, step: usize): void {
  const last = rows - 1;
  const p0 = src, p1 = src + <usize>min(1, last) * stride;
  const p2 = src + <usize>min(2, last) * stride, p3 = src + <usize>min(3, last) * stride;
  for (let u = 0; u < units; u += 4) {
    const o = <usize>u << 2;
    transpose32Store(v128.load(p0 + o), v128.load(p1 + o), v128.load(p2 + o), v128.load(p3 + o), dst, step);
    dst += step << 2;
  }
}

/**
 * Turns k columns of up to 8 row-major weight rows into a panel block; lanes of missing rows repeat the last one.
 * Reads up to 14 bytes beyond a row and writes up to 7 steps beyond the block (f32: its step is always 32).
 */
export function packBlock(format: i32, src: usize, stride: usize, rows: i32, k: i32, dst: usize, step: usize): void {
  if (format == F32) {
    transpose32(src, stride, min(rows, 4), k, dst, 32);
    if (rows > 4) transpose32(src + 4 * stride, stride, rows - 4, k, dst + 16, 32);
    else transpose32(src + <usize>(rows - 1) * stride, stride, 1, k, dst + 16, 32);
  } else {
    transpose16(src, stride, rows, format == BF16 ? k : (k + 1) >> 1, dst, step);
  }
}

/** A panel block from `[k, n]` row-major floats: 8 neighbouring columns. */
export function copyColumns(src: usize, stride: usize, k: i32, dst: usize): void {
  for (let i = 0; i < k; i++) {
    v128.store(dst, v128.load(src));
    v128.store(dst, v128.load(src, 16), 16);
    src += stride;
    dst += 32;
  }
}

/** Decodes k columns of a panel to float32 `[k][8]`, E4M3 still times 2^-120. */
export function decodeBlock(format: i32, w: usize, step: usize, k: i32, out: usize): void {
  if (format == E4M3) {
    const end = out + (<usize>((k + 1) >> 1) << 6);
    while (out < end) {
      const v = v128.load(w);
      const e = evenCodes(v), o = oddCodes(v);
      v128.store(out, upperE4m3(e));
      v128.store(out, lowerE4m3(e), 16);
      v128.store(out, upperE4m3(o), 32);
      v128.store(out, lowerE4m3(o), 48);
      w += step;
      out += 64;
    }
  } else {
    const end = out + (<usize>k << 5);
    while (out < end) {
      const v = v128.load(w);
      v128.store(out, upperBf16(v));
      v128.store(out, lowerBf16(v), 16);
      w += step;
      out += 32;
    }
  }
}

/** Packs panels: `rows` staged rows of k columns, `stride` bytes apart; the first row begins a group of panels. */
export function packPanels(format: i32, src: usize, stride: usize, rows: i32, k: i32, dst: usize, panelStride: usize): void {
  const grouped = format == F32 ? 0 : groupedRows(rows);
  for (let r = 0; r < rows; r += 8) {
    const inGroup = r < grouped;
    const to = inGroup
      ? dst + <usize>(r >> 5) * 4 * panelStride + (<usize>((r >> 3) & 3) << 4)
      : dst + <usize>(r >> 3) * panelStride;
    packBlock(format, src + <usize>r * stride, stride, min(8, rows - r), k, to, inGroup ? 64 : 16);
  }
}

/** Whether any of n E4M3 codes is NaN (0x7f or 0xff); reads up to 15 bytes beyond, which must not matter (zero). */
export function anyE4m3Nan(p: usize, n: i32): i32 {
  const end = p + <usize>n;
  const nan = i8x16.splat(0x7f);
  let found = i8x16.splat(0);
  while (p < end) {
    found = v128.or(found, i8x16.eq(v128.and(v128.load(p), nan), nan));
    p += 16;
  }
  return v128.any_true(found) ? 1 : 0;
}
