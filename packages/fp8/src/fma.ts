const sum64 = new Float64Array(1);
const sumWords = new Uint32Array(sum64.buffer);

/**
 * a * b + c in float32 with one rounding (fused multiply-add), for float32 operands.
 *
 * The product of two float32 is exact in a double. The sum is rounded to odd in a double: when it is inexact, the
 * neighbour with an odd last bit is taken, after which rounding to float32 gives the correctly rounded result
 * (Boldo and Melquiond, 2008). A plain double sum would be rounded twice.
 */
export function fmaFloat32(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  // Knuth's TwoSum: what the double sum lost, exactly; NaN when the sum is not finite.
  const virtual = sum - product;
  const lost = product - (sum - virtual) + (c - virtual);
  if (lost === 0 || Number.isNaN(lost)) return Math.fround(sum);
  sum64[0] = sum;
  if ((sumWords[0]! & 1) === 0) {
    if (lost > 0 === sum > 0) sumWords[0] = sumWords[0]! | 1;
    else {
      if (sumWords[0] === 0) sumWords[1] = sumWords[1]! - 1;
      sumWords[0] = sumWords[0]! - 1;
    }
  }
  return Math.fround(sum64[0]!);
}
