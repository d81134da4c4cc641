import { laneMask, loadPartial } from './simd';

/** Stands for minus infinity once logits are doubles: below every difference of float32 values, and its square is finite. */
@inline
const NOTHING: f64 = -1e60;

/**
 * e^x for x <= 0, relative error below 3e-14; e^-708 below -708.
 * x = n ln 2 + r with ln 2 in two parts, then 1 + r + r^2 q(r) with q of degree 7 fitted for the least relative error.
 */
@inline
function expNegative(value: v128): v128 {
  const x = f64x2.pmax(value, f64x2.splat(-708));
  // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
  const magic = f64x2.splat(6755399441055744.0);
  const t = f64x2.add(f64x2.mul(x, f64x2.splat(1.4426950408889634)), magic);
  const n = f64x2.sub(t, magic);
  const r = f64x2.sub(
    f64x2.sub(x, f64x2.mul(n, f64x2.splat(0.6931471803691238))),
    f64x2.mul(n, f64x2.splat(1.9082149292705877e-10)),
  );
  let q = f64x2.splat(2.749311584295366e-6);
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(2.4880798401929075e-5));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.00019841538910117225));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.0013888811165558403));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.008333333095263564));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.04166666696213651));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.1666666666726476));
  q = f64x2.add(f64x2.mul(q, r), f64x2.splat(0.4999999999966444));
  const y = f64x2.add(f64x2.add(f64x2.mul(f64x2.mul(r, r), q), r), f64x2.splat(1));
  return f64x2.mul(y, i64x2.shl(i64x2.add(t, i64x2.splat(1023)), 52));
}

@inline
function upper(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 2, 3, 2, 3);
}

/** The first n (1..4) floats at p, minus infinity in the lanes beyond. */
@inline
function loadLogits(p: usize, n: i32): v128 {
  if (n >= 4) return v128.load(p);
  return v128.bitselect(loadPartial(p, n), f32x4.splat(-Infinity), laneMask(n));
}

/** Entries of p that are at least (strict = 0) or above (strict = 1) value. */
export function logitsAbove(p: usize, n: i32, value: f32, strict: i32): i32 {
  const v = f32x4.splat(value);
  let count = i32x4.splat(0);
  let rest = 0;
  if (strict != 0) {
    for (; n >= 4; n -= 4, p += 16) count = i32x4.sub(count, f32x4.gt(v128.load(p), v));
    for (; n > 0; n--, p += 4) rest += i32(load<f32>(p) > value);
  } else {
    for (; n >= 4; n -= 4, p += 16) count = i32x4.sub(count, f32x4.ge(v128.load(p), v));
    for (; n > 0; n--, p += 4) rest += i32(load<f32>(p) >= value);
  }
  return rest + i32x4.extract_lane(count, 0) + i32x4.extract_lane(count, 1) + i32x4.extract_lane(count, 2) +
    i32x4.extract_lane(count, 3);
}

@inline
function largest(v: v128): f32 {
  const b = f32x4.pmax(v, upper(v));
  const x = f32x4.extract_lane(b, 0);
  const y = f32x4.extract_lane(b, 1);
  return x < y ? y : x;
}

// State of a row that is read in pieces, in doubles: maximum of the performer, maximum of the observer, the performer's logit
// there, whether a logit was NaN, and six sums in four parts each.
@inline
const OBSERVER_MAXIMUM: usize = 8;
@inline
const CENTER: usize = 16;
@inline
const BAD: usize = 24;
@inline
const SUMS: usize = 32;

/**
 * First pass over n entries: updates the maxima, the performer's logit at the observer's first maximum, and the NaN flag. Entries
 * that the performer rules out (minus infinity) are ruled out in the observer (0: none) too.
 */
export function logitMaxima(observer: usize, performer: usize, n: i32, state: usize): void {
  const lowest = f32x4.splat(-Infinity);
  let maxP4 = lowest, maxO4 = lowest, bad = i32x4.splat(0);
  if (observer != 0) {
    for (let i: usize = 0, left = n; left > 0; i += 16, left -= 4) {
      const p = loadLogits(performer + i, left);
      const o = loadLogits(observer + i, left);
      bad = v128.or(bad, v128.or(f32x4.ne(p, p), f32x4.ne(o, o)));
      maxP4 = f32x4.pmax(maxP4, p);
      maxO4 = f32x4.pmax(maxO4, v128.bitselect(lowest, o, f32x4.eq(p, lowest)));
    }
  } else {
    for (let i: usize = 0, left = n; left > 0; i += 16, left -= 4) {
      const p = loadLogits(performer + i, left);
      bad = v128.or(bad, f32x4.ne(p, p));
      maxP4 = f32x4.pmax(maxP4, p);
    }
  }
  if (v128.any_true(bad)) store<f64>(state, 1, BAD);
  const maxP = <f64>largest(maxP4);
  if (maxP > load<f64>(state)) store<f64>(state, maxP);
  const maxO = largest(maxO4);
  if (observer == 0 || !(<f64>maxO > load<f64>(state, OBSERVER_MAXIMUM))) return;
  store<f64>(state, <f64>maxO, OBSERVER_MAXIMUM);
  const bytes = <usize>n << 2;
  for (let i: usize = 0; i < bytes; i += 4) {
    const c = load<f32>(performer + i);
    if (load<f32>(observer + i) == maxO && c != -Infinity) {
      store<f64>(state, <f64>c, CENTER);
      return;
    }
  }
}

/**
 * Second pass over n entries (a multiple of 4 but for the last piece): adds e, e x, e x^2 with x = (logit - maximum) / temperature
 * and e = exp(x) of the performer; and, with an observer, its e, e d, e d^2 with d = (performer logit - c) / temperature.
 */
export function logitSums(observer: usize, performer: usize, n: i32, inverseTemperature: f64, state: usize): void {
  const lowest = f32x4.splat(-Infinity);
  const nothing = f64x2.splat(NOTHING);
  const mp = f64x2.splat(load<f64>(state)), mo = f64x2.splat(load<f64>(state, OBSERVER_MAXIMUM));
  const mc = f64x2.splat(load<f64>(state, CENTER));
  const it = f64x2.splat(inverseTemperature);
  const sums = state + SUMS;
  let z0 = v128.load(sums), z1 = v128.load(sums, 16), s0 = v128.load(sums, 32), s1 = v128.load(sums, 48);
  let q0 = v128.load(sums, 64), q1 = v128.load(sums, 80), y0 = v128.load(sums, 96), y1 = v128.load(sums, 112);
  let t0 = v128.load(sums, 128), t1 = v128.load(sums, 144), u0 = v128.load(sums, 160), u1 = v128.load(sums, 176);
  for (let i: usize = 0, left = n; left > 0; i += 16, left -= 4) {
    const p = loadLogits(performer + i, left);
    const p0 = f64x2.promote_low_f32x4(p);
    const p1 = f64x2.promote_low_f32x4(upper(p));
    const x0 = f64x2.pmax(f64x2.mul(f64x2.sub(p0, mp), it), nothing);
    const x1 = f64x2.pmax(f64x2.mul(f64x2.sub(p1, mp), it), nothing);
    let e0 = expNegative(x0);
    let e1 = expNegative(x1);
    z0 = f64x2.add(z0, e0);
    z1 = f64x2.add(z1, e1);
    e0 = f64x2.mul(e0, x0);
    e1 = f64x2.mul(e1, x1);
    s0 = f64x2.add(s0, e0);
    s1 = f64x2.add(s1, e1);
    q0 = f64x2.add(q0, f64x2.mul(e0, x0));
    q1 = f64x2.add(q1, f64x2.mul(e1, x1));
    if (observer != 0) {
      const o = v128.bitselect(lowest, loadLogits(observer + i, left), f32x4.eq(p, lowest));
      let w0 = expNegative(f64x2.mul(f64x2.sub(f64x2.promote_low_f32x4(o), mo), it));
      let w1 = expNegative(f64x2.mul(f64x2.sub(f64x2.promote_low_f32x4(upper(o)), mo), it));
      y0 = f64x2.add(y0, w0);
      y1 = f64x2.add(y1, w1);
      const d0 = f64x2.pmax(f64x2.mul(f64x2.sub(p0, mc), it), nothing);
      const d1 = f64x2.pmax(f64x2.mul(f64x2.sub(p1, mc), it), nothing);
      w0 = f64x2.mul(w0, d0);
      w1 = f64x2.mul(w1, d1);
      t0 = f64x2.add(t0, w0);
      t1 = f64x2.add(t1, w1);
      u0 = f64x2.add(u0, f64x2.mul(w0, d0));
      u1 = f64x2.add(u1, f64x2.mul(w1, d1));
    }
  }
  v128.store(sums, z0);
  v128.store(sums, z1, 16);
  v128.store(sums, s0, 32);
  v128.store(sums, s1, 48);
  v128.store(sums, q0, 64);
  v128.store(sums, q1, 80);
  v128.store(sums, y0, 96);
  v128.store(sums, y1, 112);
  v128.store(sums, t0, 128);
  v128.store(sums, t1, 144);
  v128.store(sums, u0, 160);
  v128.store(sums, u1, 176);
}
