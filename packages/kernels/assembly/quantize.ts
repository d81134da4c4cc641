// Activation quantisation in tiles of 1 x 128: s = max(amax, 1e-4) / 448, code = E4M3(x / s), nearest even, saturating.
import { ACTIVATION_FACTOR, loadPartial, maxLanes } from './simd';

@inline
const SIGN: i32 = 0x80000000;

/** Scale of n <= 128 values; NaN is ignored. `powerOfTwo` rounds up by exponent bits, biased exponent within 1..254. */
function blockScale(x: usize, n: i32, powerOfTwo: bool): f32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let amax = f32x4.splat(1e-4);
  const whole = x + <usize>((n & ~3) << 2);
  while (x < whole) {
    amax = f32x4.pmax(amax, v128.and(v128.load(x), magnitude));
    x += 16;
  }
  if (n & 3) amax = f32x4.pmax(amax, v128.and(loadPartial(x, n & 3), magnitude));
  const scale = maxLanes(amax) / 448;
  if (!powerOfTwo) return scale;
  const bits = reinterpret<i32>(scale);
  const exponent = (bits >>> 23) + ((bits & 0x7fffff) == 0 ? 0 : 1);
  return reinterpret<f32>(min<i32>(max<i32>(exponent, 1), 254) << 23);
}

@inline
function clampMagnitude(v: v128): v128 {
  return f32x4.pmin(v128.andnot(v, i32x4.splat(SIGN)), f32x4.splat(448));
}

/** Adds half a step of the 3-bit mantissa, ties to even; the low 20 bits are then to be dropped. */
@inline
function roundNormal(a: v128): v128 {
  const odd = v128.and(i32x4.shr_u(a, 20), i32x4.splat(1));
  return i32x4.add(i32x4.add(a, i32x4.splat(0x7ffff)), odd);
}

/** x / s rounded to the E4M3 grid, as float32. */
@inline
function roundToGrid(v: v128): v128 {
  const a = clampMagnitude(v);
  const normal = v128.and(roundNormal(a), i32x4.splat(0xfff00000));
  // Adding 2^14 leaves steps of 2^-9, the spacing of subnormals.
  const magic = f32x4.splat(16384);
  const subnormal = f32x4.sub(f32x4.add(a, magic), magic);
  const value = v128.bitselect(subnormal, normal, f32x4.lt(a, f32x4.splat(0.015625)));
  const signed = v128.or(value, v128.and(v, i32x4.splat(SIGN)));
  return v128.bitselect(signed, v, f32x4.eq(v, v));
}

/** E4M3 codes of x / s in 32-bit lanes. */
@inline
function encode(v: v128): v128 {
  const a = clampMagnitude(v);
  const normal = i32x4.sub(i32x4.shr_u(roundNormal(a), 20), i32x4.splat(960));
  const magic = f32x4.splat(16384);
  const subnormal = i32x4.sub(f32x4.add(a, magic), magic);
  const code = v128.bitselect(subnormal, normal, f32x4.lt(a, f32x4.splat(0.015625)));
  const signed = v128.or(code, i32x4.shr_u(v128.and(v, i32x4.splat(SIGN)), 24));
  return v128.bitselect(signed, i32x4.splat(0x7f), f32x4.eq(v, v));
}

/** Quantises one row of k values into code values times 2^64 (zero padded to a multiple of 4) and one scale a block. */
export function quantizeToValues(x: usize, k: i32, powerOfTwo: bool, out: usize, scales: usize, factor: f32): void {
  for (let b = 0; b < k; b += 128) {
    const n = min(128, k - b);
    const scale = blockScale(x, n, powerOfTwo);
    store<f32>(scales, scale * factor);
    scales += 4;
    const s = f32x4.splat(scale);
    const up = f32x4.splat(ACTIVATION_FACTOR);
    for (let i = 0; i < n; i += 4) {
      const v = n - i >= 4 ? v128.load(x) : loadPartial(x, n - i);
      v128.store(out, f32x4.mul(roundToGrid(f32x4.div(v, s)), up));
      x += 16;
      out += 16;
    }
    x -= <usize>((4 - (n & 3)) & 3) << 2;
  }
}

/** Codes and scales of m rows. */
export function quantizeActivations(x: usize, xStride: usize, codes: usize, scales: usize, m: i32, k: i32, powerOfTwo: bool): void {
  const bytes = i8x16(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  for (let i = 0; i < m; i++) {
    let p = x + <usize>i * xStride;
    for (let b = 0; b < k; b += 128) {
      const n = min(128, k - b);
      const scale = blockScale(p, n, powerOfTwo);
      store<f32>(scales, scale);
      scales += 4;
      const s = f32x4.splat(scale);
      let j = 0;
      for (; j + 4 <= n; j += 4) {
        v128.store32_lane(codes, i8x16.swizzle(encode(f32x4.div(v128.load(p), s)), bytes), 0);
        p += 16;
        codes += 4;
      }
      if (j < n) {
        const v = i8x16.swizzle(encode(f32x4.div(loadPartial(p, n - j), s)), bytes);
        let word = <u32>i32x4.extract_lane(v, 0);
        for (; j < n; j++) {
          store<u8>(codes, <u8>word);
          word >>= 8;
          codes += 1;
          p += 4;
        }
      }
    }
  }
}
