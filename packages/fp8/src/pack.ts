import { invalid } from './scheme.js';

/**
 * Packs 4-bit codes two a byte, the even element in the low nibble (torch `float4_e2m1fn_x2`, safetensors `F4`).
 *
 * @param codes - 4-bit codes, an even number of them.
 */
export function packNibbles(codes: Uint8Array): Uint8Array {
  if (codes.length % 2 !== 0) {
    throw invalid('bad-shape', 'an even number of codes', codes.length, 'pad with a zero code');
  }
  const packed = new Uint8Array(codes.length / 2);
  for (let i = 0; i < packed.length; i++) {
    const low = codes[2 * i]!;
    const high = codes[2 * i + 1]!;
    if ((low | high) > 15) {
      throw invalid('bad-codes', '4-bit codes', Math.max(low, high), 'pack 4-bit formats only');
    }
    packed[i] = low | (high << 4);
  }
  return packed;
}

/** The reverse of {@link packNibbles}. */
export function unpackNibbles(packed: Uint8Array): Uint8Array {
  const codes = new Uint8Array(packed.length * 2);
  for (let i = 0; i < packed.length; i++) {
    codes[2 * i] = packed[i]! & 15;
    codes[2 * i + 1] = packed[i]! >>> 4;
  }
  return codes;
}

/**
 * Packs 12-bit codes (`e5m6`) two in three bytes, little-endian: the even element in the low 12 bits. An odd last code
 * takes two bytes.
 */
export function packPairs(codes: Uint16Array): Uint8Array {
  const packed = new Uint8Array(Math.ceil(codes.length * 1.5));
  for (let i = 0, p = 0; i < codes.length; i += 2) {
    const low = codes[i]!;
    const high = i + 1 < codes.length ? codes[i + 1]! : 0;
    if ((low | high) > 0xfff) {
      throw invalid('bad-codes', '12-bit codes', Math.max(low, high), 'pack 12-bit formats only');
    }
    packed[p++] = low & 0xff;
    packed[p++] = (low >>> 8) | ((high & 15) << 4);
    if (i + 1 < codes.length) packed[p++] = high >>> 4;
  }
  return packed;
}

/** The reverse of {@link packPairs}; `length` codes. */
export function unpackPairs(packed: Uint8Array, length: number): Uint16Array {
  if (packed.length !== Math.ceil(length * 1.5)) {
    const expected = `${Math.ceil(length * 1.5)} bytes for ${length} codes`;
    throw invalid('bad-shape', expected, packed.length, 'pass what packPairs made');
  }
  const codes = new Uint16Array(length);
  for (let i = 0, p = 0; i < length; i += 2, p += 3) {
    const middle = packed[p + 1]!;
    codes[i] = packed[p]! | ((middle & 15) << 8);
    if (i + 1 < length) codes[i + 1] = (middle >>> 4) | (packed[p + 2]! << 4);
  }
  return codes;
}
