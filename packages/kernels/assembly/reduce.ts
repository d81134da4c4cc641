// Element-wise reduction of communication buffers, block copies and bfloat16 packing. NaN results are canonical, so that
// bits depend neither on the engine nor on the order of two NaN operands.

@inline
const F32: i32 = 0;
@inline
const BF16: i32 = 1;
@inline
const F16: i32 = 2;
@inline
const SUM: i32 = 0;
@inline
const MAX: i32 = 1;

@inline
function canonical(x: v128): v128 {
  return v128.bitselect(x, i32x4.splat(0x7fc00000), f32x4.eq(x, x));
}

@inline
function combineFloats(op: i32, a: v128, b: v128): v128 {
  return op == SUM ? f32x4.add(a, b) : op == MAX ? f32x4.max(a, b) : f32x4.min(a, b);
}

@inline
function combineF32(op: i32, a: v128, b: v128): v128 {
  return canonical(combineFloats(op, a, b));
}

@inline
function combineI32(op: i32, a: v128, b: v128): v128 {
  return op == SUM ? i32x4.add(a, b) : op == MAX ? i32x4.max_s(a, b) : i32x4.min_s(a, b);
}

/** Rounds to the upper 16 bits, ties to even; infinities stay, and a canonical NaN does too. */
@inline
function roundUpper(x: v128): v128 {
  const odd = v128.and(i32x4.shr_u(x, 16), i32x4.splat(1));
  return i32x4.add(i32x4.add(x, i32x4.splat(0x7fff)), odd);
}

/** Eight bfloat16 in 16-bit lanes; even and odd lanes are widened apart. */
@inline
function combineBf16(op: i32, a: v128, b: v128): v128 {
  const low = combineF32(op, i32x4.shl(a, 16), i32x4.shl(b, 16));
  const mask = i32x4.splat(0xffff0000);
  const high = combineF32(op, v128.and(a, mask), v128.and(b, mask));
  return v128.or(i32x4.shr_u(roundUpper(low), 16), v128.and(roundUpper(high), mask));
}

/** float32 of binary16 bits in the low half of each lane, without passing through float32 subnormals. */
@inline
function widenF16(h: v128): v128 {
  const magnitude = v128.and(h, i32x4.splat(0x7fff));
  const shifted = i32x4.shl(magnitude, 13);
  const rebias = i32x4.splat(112 << 23);
  const special = i32x4.gt_s(magnitude, i32x4.splat(0x7bff));
  const normal = i32x4.add(i32x4.add(shifted, rebias), v128.and(special, rebias));
  // Subnormals count steps of 2^-24.
  const tiny = f32x4.mul(f32x4.convert_i32x4_s(magnitude), f32x4.splat(5.9604644775390625e-8));
  const value = v128.bitselect(tiny, normal, i32x4.lt_s(magnitude, i32x4.splat(0x400)));
  return v128.or(value, i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16));
}

/** binary16 bits in the low half of each lane, ties to even. */
@inline
function narrowF16(x: v128): v128 {
  const magnitude = v128.and(x, i32x4.splat(0x7fffffff));
  const odd = v128.and(i32x4.shr_u(magnitude, 13), i32x4.splat(1));
  const rebased = i32x4.sub(magnitude, i32x4.splat((112 << 23) - 0xfff));
  let code = i32x4.shr_u(i32x4.add(rebased, odd), 13);
  // Beyond the largest code: infinity; below 2^-14 the sum with 0.5 rounds to steps of 2^-24.
  code = v128.bitselect(i32x4.splat(0x7c00), code, i32x4.gt_s(magnitude, i32x4.splat(0x477fefff)));
  const half = f32x4.splat(0.5);
  const steps = i32x4.sub(f32x4.add(magnitude, half), half);
  code = v128.bitselect(steps, code, i32x4.lt_s(magnitude, i32x4.splat(113 << 23)));
  code = v128.or(code, v128.and(i32x4.shr_u(x, 16), i32x4.splat(0x8000)));
  return v128.bitselect(i32x4.splat(0x7e00), code, i32x4.gt_s(magnitude, i32x4.splat(0x7f800000)));
}

@inline
function combineF16(op: i32, a: v128, b: v128): v128 {
  const mask = i32x4.splat(0xffff);
  const low = combineFloats(op, widenF16(v128.and(a, mask)), widenF16(v128.and(b, mask)));
  const high = combineFloats(op, widenF16(i32x4.shr_u(a, 16)), widenF16(i32x4.shr_u(b, 16)));
  return v128.or(narrowF16(low), i32x4.shl(narrowF16(high), 16));
}

@inline
function combine(dtype: i32, op: i32, a: v128, b: v128): v128 {
  if (dtype == F32) return combineF32(op, a, b);
  if (dtype == BF16) return combineBf16(op, a, b);
  if (dtype == F16) return combineF16(op, a, b);
  return combineI32(op, a, b);
}

/** `dtype` and `op` are literals at each call, so that every loop holds one operation only. */
@inline
function loop(dtype: i32, op: i32, a: usize, b: usize, out: usize, bytes: u32): void {
  // Wider steps would spill registers where each vector needs many.
  if (dtype == F16) {
    for (; bytes >= 16; bytes -= 16) {
      v128.store(out, combine(dtype, op, v128.load(a), v128.load(b)));
      a += 16;
      b += 16;
      out += 16;
    }
  }
  for (; bytes >= 64; bytes -= 64) {
    const v0 = combine(dtype, op, v128.load(a), v128.load(b));
    const v1 = combine(dtype, op, v128.load(a, 16), v128.load(b, 16));
    const v2 = combine(dtype, op, v128.load(a, 32), v128.load(b, 32));
    const v3 = combine(dtype, op, v128.load(a, 48), v128.load(b, 48));
    v128.store(out, v0);
    v128.store(out, v1, 16);
    v128.store(out, v2, 32);
    v128.store(out, v3, 48);
    a += 64;
    b += 64;
    out += 64;
  }
  for (; bytes >= 4; bytes -= 4) {
    v128.store32_lane(out, combine(dtype, op, v128.load32_zero(a), v128.load32_zero(b)), 0);
    a += 4;
    b += 4;
    out += 4;
  }
  // Half a lane: one 16-bit element is left.
  if (bytes > 0) {
    const zero = i32x4.splat(0);
    v128.store16_lane(out, combine(dtype, op, v128.load16_lane(a, zero, 0), v128.load16_lane(b, zero, 0)), 0);
  }
}

@inline
function loops(dtype: i32, op: i32, a: usize, b: usize, out: usize, bytes: u32): void {
  if (op == SUM) loop(dtype, SUM, a, b, out, bytes);
  else if (op == MAX) loop(dtype, MAX, a, b, out, bytes);
  else loop(dtype, 2, a, b, out, bytes);
}

/** out = a op b over `bytes` bytes; dtype 0 f32, 1 bf16, 2 f16, 3 i32; op 0 sum, 1 max, 2 min. out may be a or b. */
export function reduce(dtype: i32, op: i32, a: usize, b: usize, out: usize, bytes: u32): void {
  if (dtype == F32) loops(F32, op, a, b, out, bytes);
  else if (dtype == BF16) loops(BF16, op, a, b, out, bytes);
  else if (dtype == F16) loops(F16, op, a, b, out, bytes);
  else loops(3, op, a, b, out, bytes);
}

export function copyBytes(from: usize, to: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

/** Two vectors of floats to eight bfloat16, ties to even. */
@inline
function narrowBf16(a: v128, b: v128): v128 {
  return v128.shuffle<u16>(roundUpper(canonical(a)), roundUpper(canonical(b)), 1, 3, 5, 7, 9, 11, 13, 15);
}

/** n floats to bfloat16 codes. */
export function packBf16(x: usize, out: usize, n: u32): void {
  for (; n >= 8; n -= 8) {
    v128.store(out, narrowBf16(v128.load(x), v128.load(x, 16)));
    x += 32;
    out += 16;
  }
  for (; n > 0; n--) {
    const v = v128.load32_zero(x);
    v128.store16_lane(out, narrowBf16(v, v), 0);
    x += 4;
    out += 2;
  }
}

/** n bfloat16 codes to floats, bits unchanged. */
export function unpackBf16(x: usize, out: usize, n: u32): void {
  for (; n >= 8; n -= 8) {
    const v = v128.load(x);
    v128.store(out, i32x4.shl(i32x4.extend_low_i16x8_u(v), 16));
    v128.store(out, i32x4.shl(i32x4.extend_high_i16x8_u(v), 16), 16);
    x += 16;
    out += 32;
  }
  for (; n > 0; n--) {
    store<u32>(out, <u32>load<u16>(x) << 16);
    x += 2;
    out += 4;
  }
}
