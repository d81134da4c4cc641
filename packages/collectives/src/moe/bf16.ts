let values: Float32Array | undefined;

/** Value of every bfloat16 code; made at first use (256 KiB). */
export function bf16Values(): Float32Array {
  if (values === undefined) {
    const words = new Uint32Array(1 << 16);
    for (let code = 0; code < words.length; code++) words[code] = code << 16;
    values = new Float32Array(words.buffer);
  }
  return values;
}

/**
 * Rounds float32 bits to bfloat16, ties to even; every NaN becomes 0x7fc0.
 *
 * @param bits - the float32 values as 32-bit words, from `start`.
 */
function roundBitsToBf16(
  bits: Uint32Array,
  start: number,
  length: number,
  out: Uint16Array,
  outStart: number,
): void {
  for (let i = 0; i < length; i++) {
    const word = bits[start + i]!;
    out[outStart + i] =
      (word & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

/** Bfloat16 codes of float32 values, ties to even. */
export function toBf16(input: Float32Array, out: Uint16Array = new Uint16Array(input.length)): Uint16Array {
  const bits = new Uint32Array(input.buffer, input.byteOffset, input.length);
  roundBitsToBf16(bits, 0, input.length, out, 0);
  return out;
}

/** Float32 values of bfloat16 codes. */
export function fromBf16(
  codes: Uint16Array,
  out: Float32Array = new Float32Array(codes.length),
): Float32Array {
  const table = bf16Values();
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
  return out;
}
