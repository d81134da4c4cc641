const f64 = new Float64Array(1);
const f64Words = new Uint32Array(f64.buffer);
const f32 = new Float32Array(1);
const f32Word = new Uint32Array(f32.buffer);

/** Exponent of the largest power of two that is at most |x|, for finite non-zero x; exact, unlike `Math.log2`. */
export function floorLog2(x: number): number {
  f64[0] = x;
  const field = (f64Words[1]! >>> 20) & 0x7ff;
  if (field !== 0) return field - 1023;
  f64[0] = x * 2 ** 54;
  return ((f64Words[1]! >>> 20) & 0x7ff) - 1023 - 54;
}

/** Exponent of the smallest power of two that is at least |x|, for finite non-zero x. */
export function ceilLog2(x: number): number {
  const floor = floorLog2(x);
  return powerOfTwo(floor) === Math.abs(x) ? floor : floor + 1;
}

/** 2^exponent, exactly, for -1074 <= exponent <= 1023. */
export function powerOfTwo(exponent: number): number {
  if (exponent < -1022) return powerOfTwo(exponent + 60) * 2 ** -60;
  f64Words[0] = 0;
  f64Words[1] = (exponent + 1023) << 20;
  return f64[0]!;
}

/**
 * Rounds a positive float32 scale up to a power of two by its exponent bits, clamped to 2^-126 .. 2^127: the UE8M0
 * rule of DeepGEMM (exponent field + 1 if any mantissa bit is set, clamped to 1..254).
 */
export function ceilPowerOfTwo(scale: number): number {
  f32[0] = scale;
  const word = f32Word[0]!;
  const field = ((word >>> 23) & 0xff) + ((word & 0x7fffff) === 0 ? 0 : 1);
  f32Word[0] = Math.min(Math.max(field, 1), 254) << 23;
  return f32[0]!;
}
