import { madd } from './simd';

/**
 * e^x, within 2 units in the last place, subnormal results included; 0 below -104, infinity above 88.73; NaN stays NaN.
 * x = n ln 2 + r with ln 2 in two parts, then a polynomial of degree 6 in r (coefficients of the Cephes library's expf).
 */
@inline
export function exp4(value: v128): v128 {
  // pmin and pmax are one instruction each and keep a NaN that stands first.
  const x = f32x4.pmax(f32x4.pmin(value, f32x4.splat(89)), f32x4.splat(-104));
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
  const magic = f32x4.splat(12582912);
  const t = f32x4.add(f32x4.mul(x, f32x4.splat(1.44269504)), magic);
  const n = f32x4.sub(t, magic);
  const r = f32x4.sub(f32x4.sub(x, f32x4.mul(n, f32x4.splat(0.693359375))), f32x4.mul(n, f32x4.splat(-2.12194440e-4)));
  let p = f32x4.splat(1.9875691500e-4);
  p = madd(f32x4.splat(1.3981999507e-3), p, r);
  p = madd(f32x4.splat(8.3334519073e-3), p, r);
  p = madd(f32x4.splat(4.1665795894e-2), p, r);
  p = madd(f32x4.splat(1.6666665459e-1), p, r);
  p = madd(f32x4.splat(5.0000001201e-1), p, r);
  const y = f32x4.add(madd(r, p, f32x4.mul(r, r)), f32x4.splat(1));
  // 2^n in two factors: one alone could not reach subnormals or 2^128.
  const i = i32x4.sub(t, magic);
  const h = i32x4.shr_s(i, 1);
  const bias = i32x4.splat(127);
  const f = i32x4.shl(i32x4.add(h, bias), 23);
  const g = i32x4.shl(i32x4.add(i32x4.sub(i, h), bias), 23);
  return f32x4.mul(f32x4.mul(y, f), g);
}
