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
function countAbove(p: usize, n: i32, value: f32, strict: i32): i32 {
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

/** (v0 + v2) + (v1 + v3) of the four partial sums in two vectors. */
@inline
function total(low: v128, high: v128): f64 {
  const s = f64x2.add(low, high);
  return f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
}

/**
 * Sums over one row of logits of the model that scores (performer) and, unless observer is 0, of a second model whose
 * distribution weighs them. Entries that the performer rules out (minus infinity) are ruled out in the observer too.
 *
 * out, doubles: maximum and sums of e, e x, e x^2 with x = (logit - maximum) / temperature and e = exp(x) of the performer;
 * maximum and sum of e of the observer; the performer's logit c at the observer's (first) maximum; sums of e_observer d and
 * e_observer d^2 with d = (performer logit - c) / temperature; rank of token (from 1, ties by id; 0 without a token);
 * and 1 when a logit is NaN or +Infinity or nothing is left to sum, in which case the rest is not written.
 */
export function logitStats(observer: usize, performer: usize, n: i32, token: i32, inverseTemperature: f64, out: usize): void {
  const lowest = f32x4.splat(-Infinity);
  let maxP4 = lowest, maxO4 = lowest, bad = i32x4.splat(0);
  const bytes = <usize>n << 2;
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
  const maxP = largest(maxP4);
  const maxO = observer != 0 ? largest(maxO4) : 0;
  if (v128.any_true(bad) || !isFinite<f32>(maxP) || !isFinite<f32>(maxO)) {
    store<f64>(out, 1, 80);
    return;
  }
  let c: f32 = 0;
  if (observer != 0) {
    for (let i: usize = 0; i < bytes; i += 4) {
      c = load<f32>(performer + i);
      if (load<f32>(observer + i) == maxO && c != -Infinity) break;
    }
  }

  const zero = f64x2.splat(0);
  const nothing = f64x2.splat(NOTHING);
  const mp = f64x2.splat(<f64>maxP), mo = f64x2.splat(<f64>maxO), mc = f64x2.splat(<f64>c);
  const it = f64x2.splat(inverseTemperature);
  let z0 = zero, z1 = zero, s0 = zero, s1 = zero, q0 = zero, q1 = zero;
  let y0 = zero, y1 = zero, t0 = zero, t1 = zero, u0 = zero, u1 = zero;
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
  store<f64>(out, <f64>maxP + 0.0); // Which zero came first does not matter.
  store<f64>(out, total(z0, z1), 8);
  store<f64>(out, total(s0, s1), 16);
  store<f64>(out, total(q0, q1), 24);
  store<f64>(out, <f64>maxO + 0.0, 32);
  store<f64>(out, total(y0, y1), 40);
  store<f64>(out, <f64>c + 0.0, 48);
  store<f64>(out, total(t0, t1), 56);
  store<f64>(out, total(u0, u1), 64);
  let rank = 0;
  if (token >= 0) {
    const value = load<f32>(performer + (<usize>token << 2));
    const after = performer + (<usize>token << 2);
    rank = 1 + countAbove(performer, token, value, 0) + countAbove(after, n - token, value, 1);
  }
  store<f64>(out, <f64>rank, 72);
  store<f64>(out, 0, 80);
}
