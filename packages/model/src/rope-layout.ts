/** Rotary parts inside rows: `heads` of them, `headStride` apart from `offset` on. */
export interface RopeRegion {
  readonly rows: number;
  readonly heads: number;
  readonly dims: number;
  readonly rowStride: number;
  readonly headStride: number;
  readonly offset: number;
}

/**
 * Reorders each rotary part in place from halves `(a0 a1 .. b0 b1 ..)` to pairs `(a0 b0 a1 b1 ..)`: what models with
 * `rope_interleave` false need before a rotation of pairs. Scores do not change, since queries and keys are both
 * reordered.
 */
export function interleaveHalves(x: Float32Array, region: RopeRegion): void {
  const { rows, heads, dims, rowStride, headStride, offset } = region;
  const half = dims / 2;
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const base = row * rowStride + head * headStride + offset;
      // Rotating a run of the first half past one value of the second keeps the permutation in place.
      for (let j = 0; j < half; j++) {
        const moved = x[base + half + j]!;
        for (let i = half + j; i > 2 * j + 1; i--) x[base + i] = x[base + i - 1]!;
        x[base + 2 * j + 1] = moved;
      }
    }
  }
}
