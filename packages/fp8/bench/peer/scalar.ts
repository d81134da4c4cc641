// The loops that a careful author would write in plain JavaScript, to compare with.

/** Decodes by a table of 256 entries. */
export function tableDecode(codes: Uint8Array, table: Float32Array, out: Float32Array): void {
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
}

/** E4M3 codes, nearest even and saturating, by arithmetic on float32 bits; both arrays cover the same values. */
export function bitTrickEncode(values: Float32Array, words: Uint32Array, out: Uint8Array, from = 0): void {
  for (let i = 0; i < values.length; i++) {
    const word = words[i]!;
    const sign = (word >>> 24) & 0x80;
    const magnitude = word & 0x7fffffff;
    let code: number;
    if (magnitude >= 0x3c800000) {
      code = ((magnitude + 0x7ffff + ((magnitude >>> 20) & 1)) >>> 20) - 960;
      if (code > 0x7e) code = magnitude > 0x7f800000 ? 0x7f : 0x7e;
    } else {
      // Adding 2^52 leaves whole numbers of the smallest subnormal.
      code = (Math.abs(values[i]!) * 512 + 4503599627370496 - 4503599627370496) | 0;
    }
    out[from + i] = code | sign;
  }
}

const tile = new Float32Array(128);
const tileWords = new Uint32Array(tile.buffer);

/** Quantises whole 1x128 tiles: scale = max(amax, 1e-4) / 448, codes of x / scale. */
export function bitTrickQuantize(values: Float32Array, out: Uint8Array, scales: Float32Array): void {
  const floor = Math.fround(1e-4);
  for (let start = 0, t = 0; start < values.length; start += 128, t++) {
    let amax = floor;
    for (let i = start; i < start + 128; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude > amax) amax = magnitude;
    }
    const scale = Math.fround(amax / 448);
    scales[t] = scale;
    for (let i = 0; i < 128; i++) tile[i] = values[start + i]! / scale;
    bitTrickEncode(tile, tileWords, out, start);
  }
}

/** A plain GEMM: a `[m, k]` times b `[n, k]`, float32 products and sums, one dot at a time. */
export function plainGemm(
  a: Float32Array,
  b: Float32Array,
  out: Float32Array,
  [m, n, k]: readonly [number, number, number],
): void {
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      let sum = 0;
      const i = row * k;
      const j = col * k;
      for (let p = 0; p < k; p++) sum = Math.fround(sum + Math.fround(a[i + p]! * b[j + p]!));
      out[row * n + col] = sum;
    }
  }
}
