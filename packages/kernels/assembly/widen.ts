// BF16 to float32.

/** Widens n BF16 numbers, consecutive, exactly; `out` must not overlap `x`. */
export function widenBf16(x: usize, n: i32, out: usize): void {
  const zero = i16x8.splat(0);
  for (; n >= 8; n -= 8) {
    const v = v128.load(x);
    // Each number after a zero: the upper half of a little-endian float32.
    v128.store(out, v128.shuffle<i16>(zero, v, 0, 8, 1, 9, 2, 10, 3, 11));
    v128.store(out, v128.shuffle<i16>(zero, v, 4, 12, 5, 13, 6, 14, 7, 15), 16);
    x += 16;
    out += 32;
  }
  for (; n > 0; n--) {
    store<u32>(out, <u32>load<u16>(x) << 16);
    x += 2;
    out += 4;
  }
}
