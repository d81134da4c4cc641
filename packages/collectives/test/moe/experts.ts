import { fromBf16, toBf16 } from '../../src/index.js';

/** Factor of the stand-in expert `expert` of `experts`. */
export function expertFactor(expert: number, experts: number): number {
  return Math.fround(0.5 + expert / experts);
}

/**
 * The expert side of a normal mode in float32: for each received row the sum over slots, ascending, of factor * x * weight.
 *
 * @param x - [rows, H].
 */
export function runExperts(
  x: Float32Array,
  topkIdx: Int32Array,
  topkWeights: Float32Array,
  shape: { rows: number; hidden: number; topK: number; firstExpert: number; experts: number },
): Float32Array {
  const { rows, hidden, topK, firstExpert, experts } = shape;
  const y = new Float32Array(rows * hidden);
  for (let row = 0; row < rows; row++) {
    for (let slot = row * topK; slot < row * topK + topK; slot++) {
      const local = topkIdx[slot]!;
      if (local < 0) continue;
      const factor = expertFactor(firstExpert + local, experts);
      const weight = topkWeights[slot]!;
      for (let i = row * hidden; i < (row + 1) * hidden; i++) {
        y[i] = y[i]! + Math.fround(Math.fround(factor * x[i]!) * weight);
      }
    }
  }
  return y;
}

/** {@link runExperts} on bfloat16 rows. */
export function runExpertsBf16(
  x: Uint16Array,
  topkIdx: Int32Array,
  topkWeights: Float32Array,
  shape: { rows: number; hidden: number; topK: number; firstExpert: number; experts: number },
): Uint16Array {
  return toBf16(runExperts(fromBf16(x.subarray(0, shape.rows * shape.hidden)), topkIdx, topkWeights, shape));
}
