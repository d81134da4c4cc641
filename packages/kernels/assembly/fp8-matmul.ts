// Products of block-scaled matrices, segment by segment of the inner dimension, in float32 or as tensor cores accumulate. Operands come as tiles: `[ceil(rows / width)][k][width]` float32.
import { coreTile, high, wideTile } from './fp8-core';
import { tile } from './tile';

// How a partial sum joins the result.
@inline
const KERNELPY: i32 = 1;
@inline
const CHAIN: i32 = 2;

/** Rows of a, and columns of k, that are swept at a time: 256 KiB, within a common level-2 cache. */
@inline
const ROW_CHUNK: i32 = 128;
@inline
const K_CHUNK: i32 = 512;

/** x * y + z in float32 with one rounding: the double sum is rounded to odd before it is rounded to float32. */
function fma1(x: f32, y: f32, z: f32): f32 {
  const product = <f64>x * <f64>y;
  const c = <f64>z;
  const sum = product + c;
  const virtual = sum - product;
  const lost = product - (sum - virtual) + (c - virtual);
  if (lost == 0 || lost != lost) return <f32>sum;
  const bits = reinterpret<i64>(sum);
  if (bits & 1) return <f32>sum;
  return <f32>reinterpret<f64>((lost > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

/** Whether rounding the double lanes to float32 could round twice: a midpoint, or a float32 subnormal. */
@inline
function isDelicate(sum: v128): v128 {
  const middle = i64x2.eq(v128.and(sum, i64x2.splat(0x1fffffff)), i64x2.splat(0x10000000));
  const tiny = f64x2.lt(f64x2.abs(sum), f64x2.splat(1.1754943508222875e-38));
  return v128.or(middle, v128.andnot(tiny, f64x2.eq(sum, f64x2.splat(0))));
}

function fmaLanes(x: v128, y: v128, z: v128): v128 {
  let r = f32x4.splat(fma1(f32x4.extract_lane(x, 0), f32x4.extract_lane(y, 0), f32x4.extract_lane(z, 0)));
  r = f32x4.replace_lane(r, 1, fma1(f32x4.extract_lane(x, 1), f32x4.extract_lane(y, 1), f32x4.extract_lane(z, 1)));
  r = f32x4.replace_lane(r, 2, fma1(f32x4.extract_lane(x, 2), f32x4.extract_lane(y, 2), f32x4.extract_lane(z, 2)));
  return f32x4.replace_lane(r, 3, fma1(f32x4.extract_lane(x, 3), f32x4.extract_lane(y, 3), f32x4.extract_lane(z, 3)));
}

/** x * y + z of four lanes with one rounding each. */
@inline
function fma4(x: v128, y: v128, z: v128): v128 {
  const low = f64x2.add(f64x2.mul(f64x2.promote_low_f32x4(x), f64x2.promote_low_f32x4(y)), f64x2.promote_low_f32x4(z));
  const top = f64x2.add(
    f64x2.mul(f64x2.promote_low_f32x4(high(x)), f64x2.promote_low_f32x4(high(y))),
    f64x2.promote_low_f32x4(high(z)),
  );
  if (v128.any_true(v128.or(isDelicate(low), isDelicate(top)))) return fmaLanes(x, y, z);
  return i32x4.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(top), 0, 1, 4, 5);
}

/** Adds 8 partial sums, scaled, to 8 results; or replaces these. */
@inline
function promote(c: usize, sums: usize, aScale: usize, bScales: usize, promotion: i32): void {
  const s = v128.load(sums), t = v128.load(sums, 16);
  if (promotion == CHAIN) {
    v128.store(c, s);
    v128.store(c, t, 16);
    return;
  }
  const f = v128.load32_splat(aScale);
  const g = v128.load(bScales), h = v128.load(bScales, 16);
  if (promotion == KERNELPY) {
    v128.store(c, fma4(f32x4.mul(s, f), g, v128.load(c)));
    v128.store(c, fma4(f32x4.mul(t, f), h, v128.load(c, 16)), 16);
  } else {
    v128.store(c, fma4(f32x4.mul(f, g), s, v128.load(c)));
    v128.store(c, fma4(f32x4.mul(f, h), t, v128.load(c, 16)), 16);
  }
}

/**
 * c `[m, n]` += the product of tiles a (m rows in fours, in twos with `fused`) and b (n rows in eights), per segment
 * `starts[s] .. starts[s + 1]` of k: a partial sum from 0, then c = fma(aScale * bScale, partial, c), or
 * `promotion` 1: fma(partial * aScale, bScale, c), or 2: partial sums start from c and replace it.
 *
 * `fused` 0 adds products one after the other in float32; else it is the step of the tensor core, with exponents: 25
 * alignment bits if `wide`, else 13. Scales: `[segments][m]` and `[segments][n]`; MX exponents by 32 of k, or 0 for none:
 * `[blocks][m]` and `[blocks][n]`. m and n are multiples of the tile sizes; `cStride` in bytes; 256 bytes of scratch.
 */
export function segmentProduct(
  a: usize, aExponents: usize, b: usize, bExponents: usize, m: i32, n: i32, k: i32, starts: usize, segments: i32,
  aScales: usize, bScales: usize, promotion: i32, fused: i32, wide: bool, aShifts: usize, bShifts: usize, c: usize, cStride: usize, scratch: usize,
): void {
  const rowsPerTile = fused ? 2 : 4;
  const one = scratch + 192;
  store<f32>(one, 1);
  for (let i0 = 0; i0 < m; i0 += ROW_CHUNK) {
    const iEnd = min(m, i0 + ROW_CHUNK);
    for (let g = 0; g < segments; ) {
      const from = load<i32>(starts + (<usize>g << 2));
      let next = g + 1;
      while (next < segments && load<i32>(starts + (<usize>next << 2) + 4) - from <= K_CHUNK) next++;
      for (let j = 0; j < n; j += 8) {
        for (let s = g; s < next; s++) {
          const start = load<i32>(starts + (<usize>s << 2));
          const length = load<i32>(starts + (<usize>s << 2), 4) - start;
          const bAt = j * k + start * 8;
          const bTile = b + (<usize>bAt << 2);
          const aScale = aScales + (<usize>(s * m) << 2);
          const bScale = bScales + (<usize>(s * n + j) << 2);
          for (let i = i0; i < iEnd; i += rowsPerTile) {
            const aAt = i * k + start * rowsPerTile;
            const to = c + <usize>i * cStride + (<usize>j << 2);
            if (promotion == CHAIN) {
              for (let r: usize = 0; r < <usize>rowsPerTile; r++) {
                v128.store(scratch + 32 * r, v128.load(to + r * cStride));
                v128.store(scratch + 32 * r, v128.load(to + r * cStride, 16), 16);
              }
            } else {
              for (let z: usize = 0; z < <usize>rowsPerTile << 5; z += 16) v128.store(scratch + z, f32x4.splat(0));
            }
            if (wide) {
              const block = <usize>(start >> 5) << 2;
              const aShift = aShifts ? aShifts + block * m + (<usize>i << 2) : 0;
              const bShift = bShifts + block * n + (<usize>j << 2);
              wideTile(
                a + (<usize>aAt << 2), aExponents + <usize>aAt, bTile, bExponents + <usize>bAt, length, aShift, <usize>m << 2, bShift,
                <usize>n << 2, scratch,
              );
            } else if (fused) coreTile(a + (<usize>aAt << 2), aExponents + <usize>aAt, bTile, bExponents + <usize>bAt, length, fused, scratch);
            else tile(4, bTile, a + (<usize>aAt << 2), length, scratch, 32, one, 0, 1);
            for (let r: usize = 0; r < <usize>rowsPerTile; r++) {
              promote(to + r * cStride, scratch + 32 * r, aScale + (<usize>i + r << 2), bScale, promotion);
            }
          }
        }
      }
      g = next;
    }
  }
}
