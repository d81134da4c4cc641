// Small helpers that every kernel inlines.

/** a + w * x with two roundings: fused multiply-add would make results depend on the machine. */
@inline
export function madd(a: v128, w: v128, x: v128): v128 {
  return f32x4.add(a, f32x4.mul(w, x));
}

/** The first n (1..4) floats at p, the rest zero; never reads beyond them. */
export function loadPartial(p: usize, n: i32): v128 {
  if (n >= 4) return v128.load(p);
  if (n == 3) return v128.load32_lane(p, v128.load64_zero(p), 2, 8);
  if (n == 2) return v128.load64_zero(p);
  return v128.load32_zero(p);
}

/** Stores the first n (1..4) lanes. */
export function storePartial(p: usize, v: v128, n: i32): void {
  if (n >= 4) {
    v128.store(p, v);
  } else if (n == 3) {
    v128.store64_lane(p, v, 0);
    v128.store32_lane(p, v, 2, 8);
  } else if (n == 2) {
    v128.store64_lane(p, v, 0);
  } else {
    v128.store32_lane(p, v, 0);
  }
}

/** All bits set in the first n lanes. */
@inline
export function laneMask(n: i32): v128 {
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(n));
}

/** a0 + a1 + a2 + a3 as (a0 + a2) + (a1 + a3). */
@inline
export function sumLanes(a: v128): f32 {
  const b = f32x4.add(a, v128.shuffle<f32>(a, a, 2, 3, 2, 3));
  return f32x4.extract_lane(b, 0) + f32x4.extract_lane(b, 1);
}

@inline
export function maxLanes(a: v128): f32 {
  const b = f32x4.pmax(a, v128.shuffle<f32>(a, a, 2, 3, 2, 3));
  return max<f32>(f32x4.extract_lane(b, 0), f32x4.extract_lane(b, 1));
}

// FP8 E4M3 on the way to float32: a sign-extended code shifted so that its sign, 4 exponent and 3 mantissa bits stand at
// those of a bfloat16 is the value times 2^-120, subnormals included (they become float32 subnormals). The factor is
// taken back by scaling activations with 2^64 and block sums with 2^56, both exact.
@inline
export const E4M3_MASK: i32 = 0x87f00000;
@inline
export const ACTIVATION_FACTOR: f32 = 18446744073709551616.0; // 2^64
@inline
export const SUM_FACTOR: f32 = 72057594037927936.0; // 2^56

/** Odd bytes of each 16-bit lane, positioned; low bits hold rests of the even byte. */
@inline
export function oddCodes(v: v128): v128 {
  return i16x8.shr_s(v, 4);
}

/** Even bytes of each 16-bit lane, positioned. */
@inline
export function evenCodes(v: v128): v128 {
  return i16x8.shr_s(i16x8.shl(v, 8), 4);
}

/** float32 of the upper 16-bit halves of positioned codes. */
@inline
export function upperE4m3(v: v128): v128 {
  return v128.and(v, i32x4.splat(E4M3_MASK));
}

/** float32 of the lower 16-bit halves of positioned codes. */
@inline
export function lowerE4m3(v: v128): v128 {
  return v128.and(i32x4.shl(v, 16), i32x4.splat(E4M3_MASK));
}

/** float32 of the upper bfloat16 of each lane. */
@inline
export function upperBf16(v: v128): v128 {
  return v128.and(v, i32x4.splat(0xffff0000));
}

/** float32 of the lower bfloat16 of each lane. */
@inline
export function lowerBf16(v: v128): v128 {
  return i32x4.shl(v, 16);
}
