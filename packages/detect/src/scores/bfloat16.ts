const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Rounds to float32 and then to bfloat16, ties to even, as a float32 computation stored in bfloat16 does. NaN stays NaN. */
export function roundBfloat16(value: number): number {
  float[0] = value;
  const word = bits[0]!;
  if ((word & 0x7fffffff) > 0x7f800000) return Number.NaN;
  bits[0] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  return float[0]!;
}
