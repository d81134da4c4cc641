// Dot products as tensor cores accumulate them, after the model of MMA-Sim (microsoft/MMA-Sim c785138): Hopper and Ada in
// float32 lanes, Blackwell in double lanes, where every step is exact.

@inline
export function high(v: v128): v128 {
  return i32x4.shuffle(v, v, 2, 3, 2, 3);
}

/** Largest of the accumulator's and the products' exponents; accumulators are 0 or at least 2^-95. */
@inline
function alignment(products: v128, c: v128): v128 {
  const exponent = i32x4.sub(i32x4.shr_u(v128.and(c, i32x4.splat(0x7fffffff)), 23), i32x4.splat(127));
  return i32x4.max_s(i32x4.max_s(products, exponent), i32x4.splat(-95));
}

/** 2^(13 - exponent): aligned terms are integers then. */
@inline
function aligning(exponent: v128): v128 {
  return i32x4.shl(i32x4.sub(i32x4.splat(140), exponent), 23);
}

/** sum * 2^(exponent - 13), cut to 13 fraction bits. */
@inline
function realigned(sum: v128, exponent: v128): v128 {
  const value = f32x4.mul(sum, i32x4.shl(i32x4.add(exponent, i32x4.splat(114)), 23));
  return v128.and(value, i32x4.splat(0xfffffc00));
}

/** The accumulator as a term; + 0 because truncation makes -0. */
@inline
function firstTerm(c: v128, factor: v128): v128 {
  return f32x4.add(f32x4.trunc(f32x4.mul(c, factor)), f32x4.splat(0));
}

@inline
function addTerm(sum: v128, x: v128, y: v128, factor: v128): v128 {
  return f32x4.add(sum, f32x4.trunc(f32x4.mul(f32x4.mul(x, y), factor)));
}

/**
 * 2 x 8 dots of k elements chained onto `sums`, `fused` products at a time: all terms are truncated to 13 bits below
 * the largest exponent and added exactly, the sum is truncated to 13 fraction bits. a: `[k][2]`, b: `[k][8]`, and their
 * exponents as bytes. Every intermediate is exact in float32: terms are integers below 2^16.
 */
export function coreTile(a: usize, aExponents: usize, b: usize, bExponents: usize, k: i32, fused: i32, sums: usize): void {
  let c0 = v128.load(sums), c1 = v128.load(sums, 16), c2 = v128.load(sums, 32), c3 = v128.load(sums, 48);
  for (let start = 0; start < k; start += fused) {
    const n = min(fused, k - start);
    let top = i8x16.splat(-128);
    let end = aExponents + (<usize>n << 1);
    while (aExponents < end) {
      const x = v128.load16_splat(aExponents);
      const e = i8x16.shuffle(x, x, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
      top = i8x16.max_s(top, i8x16.add_sat_s(e, v128.load64_splat(bExponents)));
      aExponents += 2;
      bExponents += 8;
    }
    const low = i16x8.extend_low_i8x16_s(top), upper = i16x8.extend_high_i8x16_s(top);
    const e0 = alignment(i32x4.extend_low_i16x8_s(low), c0), e1 = alignment(i32x4.extend_high_i16x8_s(low), c1);
    const e2 = alignment(i32x4.extend_low_i16x8_s(upper), c2), e3 = alignment(i32x4.extend_high_i16x8_s(upper), c3);
    const f0 = aligning(e0), f1 = aligning(e1), f2 = aligning(e2), f3 = aligning(e3);
    let s0 = firstTerm(c0, f0), s1 = firstTerm(c1, f1), s2 = firstTerm(c2, f2), s3 = firstTerm(c3, f3);
    end = a + (<usize>n << 3);
    while (a < end) {
      const y0 = v128.load(b), y1 = v128.load(b, 16);
      const x0 = v128.load32_splat(a);
      s0 = addTerm(s0, x0, y0, f0);
      s1 = addTerm(s1, x0, y1, f1);
      const x1 = v128.load32_splat(a, 4);
      s2 = addTerm(s2, x1, y0, f2);
      s3 = addTerm(s3, x1, y1, f3);
      a += 8;
      b += 32;
    }
    c0 = realigned(s0, e0);
    c1 = realigned(s1, e1);
    c2 = realigned(s2, e2);
    c3 = realigned(s3, e3);
  }
  v128.store(sums, c0);
  v128.store(sums, c1, 16);
  v128.store(sums, c2, 32);
  v128.store(sums, c3, 48);
}

/**
 * Largest exponent of products, per lane, from bytes in which a zero operand counted as -110 to fit: MMA-Sim lets it count
 * as -126, so that one zero makes at most -126 + 15, two make -252.
 */
@inline
function productExponents(x: v128): v128 {
  const oneZero = i32x4.lt_s(x, i32x4.splat(-40));
  const exact = i32x4.sub(x, v128.and(oneZero, i32x4.splat(16)));
  return v128.bitselect(i32x4.splat(-252), exact, i32x4.eq(x, i32x4.splat(-128)));
}

/** Exponents of float32 accumulators, -126 for zero and subnormals. */
@inline
function accumulatorExponents(c: v128): v128 {
  const field = i32x4.shr_u(v128.and(c, i32x4.splat(0x7fffffff)), 23);
  return i32x4.max_s(i32x4.sub(field, i32x4.splat(127)), i32x4.splat(-126));
}

/** 2^e of two lanes (sign-extended 64-bit integers). */
@inline
function powers(e: v128): v128 {
  return i64x2.shl(i64x2.add(e, i64x2.splat(1023)), 52);
}

/** Cuts double sums to float32, toward zero, and returns two lanes of it. */
@inline
function cutToFloat32(v: v128): v128 {
  const normal = v128.and(v, i64x2.splat(0xffffffffe0000000));
  const tiny = f64x2.lt(f64x2.abs(v), f64x2.splat(1.1754943508222875e-38));
  if (!v128.any_true(tiny)) return f32x4.demote_f64x2_zero(f64x2.add(normal, f64x2.splat(0)));
  const unit = f64x2.splat(1.401298464324817e-45);
  const steps = f64x2.trunc(f64x2.mul(v, f64x2.splat(7.136238463529799e44)));
  const cut = v128.bitselect(f64x2.mul(steps, unit), normal, tiny);
  return f32x4.demote_f64x2_zero(f64x2.add(cut, f64x2.splat(0)));
}

@inline
function addWide(sum: v128, x: v128, y: v128, factor: v128): v128 {
  return f64x2.add(sum, f64x2.trunc(f64x2.mul(f64x2.mul(x, f64x2.promote_low_f32x4(y)), factor)));
}

@inline
function firstWide(c: v128, factor: v128): v128 {
  return f64x2.trunc(f64x2.mul(f64x2.promote_low_f32x4(c), factor));
}

/** One fused step of one row and 8 columns in double: terms are cut to 25 bits below E, the sum to float32. */
@inline
function wideStep(a: usize, b: usize, n: i32, low: v128, upper: v128, shiftLow: v128, shiftUpper: v128, c: usize): void {
  const c0 = v128.load(c), c1 = v128.load(c, 16);
  const e0 = i32x4.max_s(i32x4.add(low, shiftLow), accumulatorExponents(c0));
  const e1 = i32x4.max_s(i32x4.add(upper, shiftUpper), accumulatorExponents(c1));
  // The accumulator is aligned to E itself, products to E less the exponent of their scales.
  const g0 = i32x4.sub(i32x4.splat(25), e0), g1 = i32x4.sub(i32x4.splat(25), e1);
  let s0 = firstWide(c0, powers(i64x2.extend_low_i32x4_s(g0))), s1 = firstWide(high(c0), powers(i64x2.extend_high_i32x4_s(g0)));
  let s2 = firstWide(c1, powers(i64x2.extend_low_i32x4_s(g1))), s3 = firstWide(high(c1), powers(i64x2.extend_high_i32x4_s(g1)));
  const h0 = i32x4.add(g0, shiftLow), h1 = i32x4.add(g1, shiftUpper);
  const f0 = powers(i64x2.extend_low_i32x4_s(h0)), f1 = powers(i64x2.extend_high_i32x4_s(h0));
  const f2 = powers(i64x2.extend_low_i32x4_s(h1)), f3 = powers(i64x2.extend_high_i32x4_s(h1));
  const end = b + (<usize>n << 5);
  while (b < end) {
    const x = f64x2.splat(<f64>load<f32>(a));
    s0 = addWide(s0, x, v128.load64_zero(b), f0);
    s1 = addWide(s1, x, v128.load64_zero(b, 8), f1);
    s2 = addWide(s2, x, v128.load64_zero(b, 16), f2);
    s3 = addWide(s3, x, v128.load64_zero(b, 24), f3);
    a += 8;
    b += 32;
  }
  const d0 = i32x4.neg(g0), d1 = i32x4.neg(g1);
  s0 = cutToFloat32(f64x2.mul(s0, powers(i64x2.extend_low_i32x4_s(d0))));
  s1 = cutToFloat32(f64x2.mul(s1, powers(i64x2.extend_high_i32x4_s(d0))));
  s2 = cutToFloat32(f64x2.mul(s2, powers(i64x2.extend_low_i32x4_s(d1))));
  s3 = cutToFloat32(f64x2.mul(s3, powers(i64x2.extend_high_i32x4_s(d1))));
  v128.store(c, i64x2.shuffle(s0, s1, 0, 2));
  v128.store(c, i64x2.shuffle(s2, s3, 0, 2), 16);
}

/**
 * As {@link coreTile} for tensor cores with 25 alignment bits and float32 results (Blackwell), 32 products a step. With
 * MX scales, `aShifts` and `bShifts` hold their exponents for the block at hand and those of the following blocks
 * `aStep` and `bStep` bytes on: 2 rows, 8 columns.
 */
export function wideTile(
  a: usize, aExponents: usize, b: usize, bExponents: usize, k: i32, aShifts: usize, aStep: usize, bShifts: usize, bStep: usize,
  sums: usize,
): void {
  for (let start = 0; start < k; start += 32) {
    const n = min(32, k - start);
    let top = i8x16.splat(-128);
    const end = aExponents + (<usize>n << 1);
    while (aExponents < end) {
      const x = v128.load16_splat(aExponents);
      const e = i8x16.shuffle(x, x, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
      top = i8x16.max_s(top, i8x16.add_sat_s(e, v128.load64_splat(bExponents)));
      aExponents += 2;
      bExponents += 8;
    }
    let low = i32x4.splat(0), upper = low, low1 = low, upper1 = low;
    if (aShifts) {
      const p = v128.load(bShifts), q = v128.load(bShifts, 16);
      const r = v128.load32_splat(aShifts), t = v128.load32_splat(aShifts, 4);
      low = i32x4.add(p, r);
      upper = i32x4.add(q, r);
      low1 = i32x4.add(p, t);
      upper1 = i32x4.add(q, t);
      aShifts += aStep;
      bShifts += bStep;
    }
    const row0 = i16x8.extend_low_i8x16_s(top), row1 = i16x8.extend_high_i8x16_s(top);
    wideStep(
      a, b, n, productExponents(i32x4.extend_low_i16x8_s(row0)), productExponents(i32x4.extend_high_i16x8_s(row0)), low, upper, sums,
    );
    wideStep(
      a + 4, b, n, productExponents(i32x4.extend_low_i16x8_s(row1)), productExponents(i32x4.extend_high_i16x8_s(row1)), low1, upper1,
      sums + 32,
    );
    a += <usize>n << 3;
    b += <usize>n << 5;
  }
}
