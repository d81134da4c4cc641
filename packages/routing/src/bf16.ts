const value = new Float32Array(1);
const bits = new Uint32Array(value.buffer);

/** Nearest bfloat16 of a finite number, ties to even, as a number; the argument is first rounded to float32. */
export function roundToBf16(x: number): number {
  value[0] = x;
  const word = bits[0]!;
  bits[0] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  return value[0]!;
}
