/** `[rows, cols]` to `[cols, rows]`, in blocks that stay in cache. */
export function transpose<T extends Float32Array | Uint8Array | Uint16Array>(
  source: T,
  rows: number,
  cols: number,
  out: T,
): T {
  const block = 32;
  for (let r0 = 0; r0 < rows; r0 += block) {
    const r1 = Math.min(r0 + block, rows);
    for (let c0 = 0; c0 < cols; c0 += block) {
      const c1 = Math.min(c0 + block, cols);
      for (let r = r0; r < r1; r++) {
        for (let c = c0; c < c1; c++) out[c * rows + r] = source[r * cols + c]!;
      }
    }
  }
  return out;
}
