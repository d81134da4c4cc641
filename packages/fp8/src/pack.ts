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
