// float32 to FP8 codes, nearest even and saturating, alone or after scaling by tiles.
import { loadPartial } from './simd';

@inline
const MAGNITUDE: i32 = 0x7fffffff;
@inline
const INFINITY_BITS: i32 = 0x7f800000;

// Numbers of the formats.
@inline
const E4M3: i32 = 0;

/**
 * Codes plus `rebase` in 32-bit lanes, without signs; far beyond every code for NaN.
 *
 * Adding M = 2^(e + 23 - mantissa bits), e being the exponent of x but at least that of subnormals, leaves |x| rounded
 * to nearest even in the last bits: how many steps of its binade it has. M's own exponent field, at the place of the
 * code's exponent, completes the code.
 */
@inline
function codeLanes(v: v128, shift: i32, top: f32, least: i32): v128 {
  // In this order NaN stays NaN.
  const a = f32x4.pmin(v128.and(v, i32x4.splat(MAGNITUDE)), f32x4.splat(top));
  const exponent = v128.and(a, i32x4.splat(INFINITY_BITS));
  const m = i32x4.max_s(i32x4.add(exponent, i32x4.splat(shift << 23)), i32x4.splat(least));
  return i32x4.add(i32x4.sub(f32x4.add(a, m), m), i32x4.shr_u(m, shift));
}

@inline
function lanes(e4m3: bool, v: v128): v128 {
  // The least M is 2^14 (exponent field 141) for steps of 2^-9, or 2^7 (134) for steps of 2^-16.
  return e4m3 ? codeLanes(v, 20, 448, 141 << 23) : codeLanes(v, 21, 57344, 134 << 23);
}

/** 16 codes of four vectors of values: the largest magnitude is NaN, saturating narrowing keeps signs. */
@inline
function codes16(e4m3: bool, a: v128, b: v128, c: v128, d: v128): v128 {
  const rebase = i16x8.splat(e4m3 ? 141 * 8 : 134 * 4);
  const nan = i16x8.splat(e4m3 ? 141 * 8 + 0x7f : 134 * 4 + 0x7e);
  const low = i16x8.sub(i16x8.min_s(i16x8.narrow_i32x4_s(lanes(e4m3, a), lanes(e4m3, b)), nan), rebase);
  const high = i16x8.sub(i16x8.min_s(i16x8.narrow_i32x4_s(lanes(e4m3, c), lanes(e4m3, d)), nan), rebase);
  const signs = i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
  return v128.or(i8x16.narrow_i16x8_u(low, high), v128.and(signs, i8x16.splat(-128)));
}

@inline
function scaled(mode: i32, x: v128, s: v128): v128 {
  return mode == 0 ? x : mode == 1 ? f32x4.div(x, s) : f32x4.mul(x, s);
}

/**
 * One run of values under one scale, or (`vary`) under a scale each. `mode`: 0 as they are, 1 divided by their scale,
 * 2 times it.
 */
@inline
function run(e4m3: bool, mode: i32, vary: bool, x: usize, n: i32, scales: usize, out: usize): void {
  let s = vary || mode == 0 ? f32x4.splat(1) : v128.load32_splat(scales);
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    if (vary) s = v128.load(scales);
    const a = scaled(mode, v128.load(x), s);
    if (vary) s = v128.load(scales, 16);
    const b = scaled(mode, v128.load(x, 16), s);
    if (vary) s = v128.load(scales, 32);
    const c = scaled(mode, v128.load(x, 32), s);
    if (vary) s = v128.load(scales, 48);
    const d = scaled(mode, v128.load(x, 48), s);
    v128.store(out, codes16(e4m3, a, b, c, d));
    x += 64;
    out += 16;
    if (vary) scales += 64;
  }
  for (; i < n; i += 4) {
    const rest = min(4, n - i);
    if (vary) s = loadPartial(scales, rest);
    const a = scaled(mode, loadPartial(x, rest), s);
    const word = <u32>i32x4.extract_lane(codes16(e4m3, a, a, a, a), 0);
    if (rest == 4) store<u32>(out, word);
    else for (let j = 0; j < rest; j++) store<u8>(out + <usize>j, <u8>(word >>> (8 * j)));
    x += 16;
    out += 4;
    if (vary) scales += 16;
  }
}

/** Encodes n float32 to format 0 (E4M3) or 1 (E5M2). */
export function encodeFp8(format: i32, x: usize, n: i32, out: usize): void {
  if (format == E4M3) run(true, 0, false, x, n, 0, out);
  else run(false, 0, false, x, n, 0, out);
}

function dividedE4m3(x: usize, n: i32, scale: usize, out: usize): void {
  run(true, 1, false, x, n, scale, out);
}
function multipliedE4m3(x: usize, n: i32, scale: usize, out: usize): void {
  run(true, 2, false, x, n, scale, out);
}
function dividedE5m2(x: usize, n: i32, scale: usize, out: usize): void {
  run(false, 1, false, x, n, scale, out);
}
function multipliedE5m2(x: usize, n: i32, scale: usize, out: usize): void {
  run(false, 2, false, x, n, scale, out);
}
function columnsDividedE4m3(x: usize, n: i32, scales: usize, out: usize): void {
  run(true, 1, true, x, n, scales, out);
}
function columnsMultipliedE4m3(x: usize, n: i32, scales: usize, out: usize): void {
  run(true, 2, true, x, n, scales, out);
}
function columnsDividedE5m2(x: usize, n: i32, scales: usize, out: usize): void {
  run(false, 1, true, x, n, scales, out);
}
function columnsMultipliedE5m2(x: usize, n: i32, scales: usize, out: usize): void {
  run(false, 2, true, x, n, scales, out);
}

/**
 * Encodes rows x cols values, consecutive, whose tiles of tileRows x tileCols have a factor each:
 * `factors[ceil(rows / tileRows)][ceil(cols / tileCols)]`, to divide by or to multiply with.
 */
export function encodeTiles(
  format: i32, x: usize, rows: i32, cols: i32, tileRows: i32, tileCols: i32, factors: usize, multiply: bool, out: usize,
): void {
  const blockCols = (cols + tileCols - 1) / tileCols;
  for (let r = 0; r < rows; r++) {
    let f = factors + (<usize>(r / tileRows) * blockCols << 2);
    if (tileCols == 1) {
      if (format == E4M3) {
        if (multiply) columnsMultipliedE4m3(x, cols, f, out);
        else columnsDividedE4m3(x, cols, f, out);
      } else if (multiply) columnsMultipliedE5m2(x, cols, f, out);
      else columnsDividedE5m2(x, cols, f, out);
      x += <usize>cols << 2;
      out += cols;
      continue;
    }
    for (let c = 0; c < cols; c += tileCols) {
      const n = min(tileCols, cols - c);
      if (format == E4M3) {
        if (multiply) multipliedE4m3(x, n, f, out);
        else dividedE4m3(x, n, f, out);
      } else if (multiply) multipliedE5m2(x, n, f, out);
      else dividedE5m2(x, n, f, out);
      x += <usize>n << 2;
      out += n;
      f += 4;
    }
  }
}

/** Magnitudes as integers, which order as floats do; 0 for infinities and NaN. */
@inline
function finiteBits(v: v128): v128 {
  const a = v128.and(v, i32x4.splat(MAGNITUDE));
  return v128.and(a, i32x4.lt_s(a, i32x4.splat(INFINITY_BITS)));
}

@inline
function magnitudeBits(finiteOnly: bool, p: usize): v128 {
  const v = v128.load(p);
  return finiteOnly ? finiteBits(v) : v128.and(v, i32x4.splat(MAGNITUDE));
}

@inline
function maxOf(finiteOnly: bool, x: usize, n: i32): i32 {
  let a = i32x4.splat(0), b = a, c = a, d = a;
  let i = 0;
  for (; i + 16 <= n; i += 16) {
    a = i32x4.max_s(a, magnitudeBits(finiteOnly, x));
    b = i32x4.max_s(b, magnitudeBits(finiteOnly, x + 16));
    c = i32x4.max_s(c, magnitudeBits(finiteOnly, x + 32));
    d = i32x4.max_s(d, magnitudeBits(finiteOnly, x + 48));
    x += 64;
  }
  for (; i < n; i += 4) {
    const v = loadPartial(x, n - i);
    a = i32x4.max_s(a, finiteOnly ? finiteBits(v) : v128.and(v, i32x4.splat(MAGNITUDE)));
    x += 16;
  }
  a = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d));
  a = i32x4.max_s(a, i32x4.shuffle(a, a, 2, 3, 2, 3));
  return max(i32x4.extract_lane(a, 0), i32x4.extract_lane(a, 1));
}

function finiteMax(x: usize, n: i32): i32 {
  return maxOf(true, x, n);
}

/** Largest finite magnitude of n values, as bits. */
function runMax(x: usize, n: i32): i32 {
  const all = maxOf(false, x, n);
  return all < INFINITY_BITS ? all : finiteMax(x, n);
}

/** Raises `amax[ceil(rows / tileRows)][ceil(cols / tileCols)]` to the largest finite magnitude of each tile. */
export function tileAmax(x: usize, rows: i32, cols: i32, tileRows: i32, tileCols: i32, amax: usize): void {
  const blockCols = (cols + tileCols - 1) / tileCols;
  for (let r = 0; r < rows; r++) {
    let m = amax + (<usize>(r / tileRows) * blockCols << 2);
    if (tileCols == 1) {
      let c = 0;
      for (; c + 4 <= cols; c += 4) {
        v128.store(m, i32x4.max_s(v128.load(m), finiteBits(v128.load(x))));
        x += 16;
        m += 16;
      }
      for (; c < cols; c++) {
        store<i32>(m, max(load<i32>(m), runMax(x, 1)));
        x += 4;
        m += 4;
      }
      continue;
    }
    for (let c = 0; c < cols; c += tileCols) {
      const n = min(tileCols, cols - c);
      store<i32>(m, max(load<i32>(m), runMax(x, n)));
      x += <usize>n << 2;
      m += 4;
    }
  }
}

/** Exponent of the largest power of two that is at most x > 0, or (`up`) of the smallest that is at least x. */
function log2Of(x: f32, up: bool): i32 {
  const bits = reinterpret<i64>(<f64>x);
  const floor = <i32>(bits >>> 52) - 1023;
  return up && (bits & 0xfffffffffffff) != 0 ? floor + 1 : floor;
}

/**
 * Scales of n tiles by `rule`: 0 max(amax, floor) / top, at least 2^-126, or 1 for an amax of 0; 1 the same rounded up
 * to a power of two by exponent bits; 2 and 3 the floor and ceil rules of MX, whose exponents lie within -127..127 and
 * are -127 for an amax of 0. What {@link encodeTiles} takes goes to `factors`: the scales, or (`reciprocal`) 1 / scale
 * in float32.
 */
export function tileScales(
  amax: usize, n: i32, top: f32, floor: f32, rule: i32, reciprocal: bool, scales: usize, factors: usize,
): void {
  const topExponent = log2Of(top, false);
  for (let i: usize = 0; i < <usize>n << 2; i += 4) {
    const a = max(load<f32>(amax + i), floor);
    let scale: f32 = 1;
    if (rule >= 2) {
      let exponent = -127;
      if (a > 0) {
        const ratio = a / top;
        if (rule == 2) exponent = log2Of(a, false) - topExponent;
        else if (ratio > 0) exponent = log2Of(ratio, true);
        exponent = min(max(exponent, -127), 127);
      }
      scale = <f32>reinterpret<f64>(<i64>(exponent + 1023) << 52);
    } else if (a > 0) {
      scale = max<f32>(a / top, 1.1754943508222875e-38);
      if (rule == 1) {
        const bits = reinterpret<i32>(scale);
        scale = reinterpret<f32>(min<i32>((bits >>> 23) + ((bits & 0x7fffff) == 0 ? 0 : 1), 254) << 23);
      }
    }
    store<f32>(scales + i, scale);
    store<f32>(factors + i, reciprocal ? <f32>1 / scale : scale);
  }
}

/** Values of four sign-extended codes; subnormals without passing through float32 subnormals, which are slow. */
@inline
function values4(e4m3: bool, x: v128): v128 {
  const shift = e4m3 ? 20 : 21;
  const moved = i32x4.shl(x, shift);
  const magnitude = v128.and(moved, i32x4.splat(0x7f << shift));
  // Below the first normal, 2^least * (1 + fraction) - 2^least.
  const isSubnormal = i32x4.lt_s(magnitude, i32x4.splat(1 << 23));
  const rebased = i32x4.sub(i32x4.add(magnitude, i32x4.splat((e4m3 ? 120 : 112) << 23)), i32x4.shl(isSubnormal, 23));
  const value = f32x4.sub(rebased, v128.and(isSubnormal, i32x4.splat((e4m3 ? 121 : 113) << 23)));
  return v128.or(value, v128.and(moved, i32x4.splat(0x80000000)));
}

/** Gives NaN and infinity among n codes their value. */
function patchValues(e4m3: bool, codes: usize, n: i32, out: usize): void {
  for (let i = 0; i < n; i++) {
    const code = load<u8>(codes + <usize>i);
    const magnitude = code & 0x7f;
    const to = out + (<usize>i << 2);
    if (e4m3 ? magnitude == 0x7f : magnitude > 0x7c) store<u32>(to, 0x7fc00000);
    else if (!e4m3 && magnitude == 0x7c) store<u32>(to, code > 0x7f ? 0xff800000 : 0x7f800000);
  }
}

@inline
function decodeRun(e4m3: bool, codes: usize, n: i32, out: usize): void {
  const special = i8x16.splat(e4m3 ? 0x7f : 0x7c);
  const end = codes + <usize>n;
  while (codes < end) {
    const v = v128.load(codes);
    const low = i16x8.extend_low_i8x16_s(v), high = i16x8.extend_high_i8x16_s(v);
    v128.store(out, values4(e4m3, i32x4.extend_low_i16x8_s(low)));
    v128.store(out, values4(e4m3, i32x4.extend_high_i16x8_s(low)), 16);
    v128.store(out, values4(e4m3, i32x4.extend_low_i16x8_s(high)), 32);
    v128.store(out, values4(e4m3, i32x4.extend_high_i16x8_s(high)), 48);
    if (v128.any_true(i8x16.ge_s(v128.and(v, i8x16.splat(0x7f)), special))) patchValues(e4m3, codes, 16, out);
    codes += 16;
    out += 64;
  }
}

/** Decodes n codes of format 0 (E4M3) or 1 (E5M2); reads and writes whole groups of 16. */
export function decodeFp8(format: i32, codes: usize, n: i32, out: usize): void {
  if (format == E4M3) decodeRun(true, codes, n, out);
  else decodeRun(false, codes, n, out);
}
